//! Packages of the Python Package Index, installed once and used by every later run.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use super::install::{install_once, peers_folder, run};

/// A pinned set of packages of the Python Package Index.
///
/// The first test that needs them makes a virtual environment in cargo's target folder, or in the
/// user's cache folder where there is none, and later ones use it. One process installs at a time,
/// and an environment that was left half made is made again. Needs `python3` with its module
/// `venv`, and the index the first time.
#[derive(Debug, Clone, Copy)]
pub struct PythonPackages {
    /// A word for the folder's name.
    pub name: &'static str,
    /// A requirements file with versions and hashes, as `pip-compile --generate-hashes` writes it.
    pub requirements: &'static str,
}

impl PythonPackages {
    /// Returns the environment's Python, once everything is installed.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Other`] with what the installer printed and what to do; those of the file
    /// system.
    pub fn python(&self) -> io::Result<PathBuf> {
        self.python_in(&peers_folder()?)
    }

    fn python_in(&self, peers: &Path) -> io::Result<PathBuf> {
        let version = run(Command::new(SYSTEM_PYTHON).arg("--version"))
            .map_err(|error| io::Error::other(format!("{error}\nInstall Python 3.10 or newer.")))?;
        let folder = peers.join(format!("{}-{:016x}", self.name, self.digest(&version)));
        let python = folder.join(PYTHON);
        install_once(&folder, || self.install(&folder, &python))?;
        Ok(python)
    }

    fn install(&self, folder: &Path, python: &Path) -> io::Result<()> {
        run(Command::new(SYSTEM_PYTHON).args(["-m", "venv"]).arg(folder)).map_err(|error| {
            io::Error::other(format!(
                "{error}\nPython's modules venv and ensurepip are needed: on Debian and Ubuntu, \
                 `apt-get install python3-venv`."
            ))
        })?;
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, self.requirements)?;
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--no-input", "--quiet"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(&requirements);
        run(&mut pip).map_err(|error| {
            io::Error::other(format!(
                "{error}\nThese tests run against packages of the Python Package Index; let `pip` \
                 reach it, or a copy of it."
            ))
        })?;
        Ok(())
    }

    /// Other packages and another Python get a folder of their own.
    fn digest(&self, python_version: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.requirements, python_version).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(not(windows))]
const SYSTEM_PYTHON: &str = "python3";
#[cfg(not(windows))]
const PYTHON: &str = "bin/python";

#[cfg(windows)]
const SYSTEM_PYTHON: &str = "python";
#[cfg(windows)]
const PYTHON: &str = "Scripts\\python.exe";

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::peer::install::COMPLETE;

    const NOTHING: PythonPackages = PythonPackages {
        name: "nothing",
        requirements: "",
    };

    /// The folders of environments, without the locks.
    fn environments(peers: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(peers)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }

    #[test]
    fn one_installs_at_a_time_and_what_was_half_made_is_made_again() {
        let peers = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| NOTHING.python_in(peers.path()).unwrap()));
            let [one, two] = both.map(|thread| thread.join().unwrap());
            assert_eq!(one, two);
            assert!(one.exists());
        });
        let [folder] = <[_; 1]>::try_from(environments(peers.path())).unwrap();
        let kept = folder.join("kept");
        fs::write(&kept, "").unwrap();
        NOTHING.python_in(peers.path()).unwrap();
        assert!(kept.exists(), "a whole environment is used as it is");
        fs::remove_file(folder.join(COMPLETE)).unwrap();
        NOTHING.python_in(peers.path()).unwrap();
        assert!(!kept.exists(), "half an environment is not");
    }

    #[test]
    fn what_the_installer_says_is_in_the_error() {
        let peers = tempfile::tempdir().unwrap();
        let wrong = PythonPackages {
            name: "wrong",
            requirements: "no requirement at all",
        };
        for _ in 0..2 {
            let error = wrong.python_in(peers.path()).unwrap_err().to_string();
            assert!(error.contains("Invalid requirement"), "{error}");
            assert!(error.contains("Package Index"), "{error}");
        }
    }
}
