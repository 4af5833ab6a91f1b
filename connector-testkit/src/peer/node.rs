//! Packages of the npm registry, installed once and used by every later run.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use super::install::{install_once, peers_folder, run};

/// A pinned set of packages of the npm registry: the files `package.json` and `package-lock.json`,
/// which has a hash for each package, and the scripts that use them.
///
/// As with those of Python, the first test that needs them installs them, and later ones use that.
/// No script of a package is run. Needs `node` with `npm`, and the registry the first time.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodePackages {
    /// A word for the folder's name.
    pub(super) name: &'static str,
    /// Names and texts.
    pub(super) files: &'static [(&'static str, &'static str)],
}

impl NodePackages {
    /// Returns the folder with the files, once everything is installed.
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        self.folder_in(&peers_folder()?)
    }

    fn folder_in(&self, peers: &Path) -> io::Result<PathBuf> {
        // Other files get a folder of their own.
        let mut hasher = DefaultHasher::new();
        self.files.hash(&mut hasher);
        let folder = peers.join(format!("{}-{:016x}", self.name, hasher.finish()));
        install_once(&folder, || self.install(&folder))?;
        Ok(folder)
    }

    fn install(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        for (name, text) in self.files {
            fs::write(folder.join(name), text)?;
        }
        let mut npm = Command::new(NPM);
        // A package may ask for a newer Node.js than it needs.
        npm.args(["ci", "--ignore-scripts", "--engine-strict=false"])
            .args(["--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder);
        run(&mut npm).map(drop).map_err(|error| {
            io::Error::other(format!(
                "{error}\nThese tests run against packages of the npm registry: install Node.js \
                 20.19 or newer with npm (Debian's packages `nodejs` and `npm` from Debian 13 on), \
                 and let `npm` reach the registry, or a copy of it."
            ))
        })
    }
}

#[cfg(not(windows))]
const NPM: &str = "npm";
// It is no program there, but a script, which is found only by its whole name.
#[cfg(windows)]
const NPM: &str = "npm.cmd";

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: (&str, &str) = ("package.json", r#"{"name":"nothing","private":true}"#);
    const LOCK: (&str, &str) = (
        "package-lock.json",
        r#"{"name":"nothing","lockfileVersion":3,"packages":{"":{"name":"nothing"}}}"#,
    );

    #[test]
    fn the_files_are_beside_what_was_installed() {
        let peers = tempfile::tempdir().unwrap();
        let nothing = NodePackages {
            name: "nothing",
            files: &[MANIFEST, LOCK],
        };
        let folder = nothing.folder_in(peers.path()).unwrap();
        assert!(folder.join("package.json").exists());
        let kept = folder.join("kept");
        fs::write(&kept, "").unwrap();
        assert_eq!(nothing.folder_in(peers.path()).unwrap(), folder);
        assert!(kept.exists(), "it is installed once");
    }

    #[test]
    fn what_the_installer_says_is_in_the_error() {
        let peers = tempfile::tempdir().unwrap();
        let wrong = NodePackages {
            name: "wrong",
            files: &[MANIFEST],
        };
        for _ in 0..2 {
            let error = wrong.folder_in(peers.path()).unwrap_err().to_string();
            assert!(error.contains("package-lock.json"), "{error}");
            assert!(error.contains("npm registry"), "{error}");
        }
    }
}
