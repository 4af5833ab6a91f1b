//! Packages of Debian, unpacked into a folder: nothing of the system is touched, so no right is
//! needed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::install::run;

/// Packages of Debian or a system made of it, with all that they need and that is not installed.
#[derive(Debug, Clone, Copy)]
pub(super) struct DebianPackages {
    pub(super) packages: &'static [&'static str],
}

impl DebianPackages {
    /// Fetches and unpacks them, and returns the folder that stands for `/`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Other`] with what was printed and what to do; those of the file system.
    pub(super) fn unpack(&self, folder: &Path) -> io::Result<PathBuf> {
        let (state, cache) = (folder.join("state"), folder.join("cache"));
        let archives = cache.join("archives");
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(archives.join("partial"))?;
        let apt = |arguments: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(["-q", "-o", "Debug::NoLocking=true", "-o"])
                .arg("Dir::State::status=/var/lib/dpkg/status")
                // As root, the files are fetched by another user, who may not write here.
                .args(["-o", "APT::Sandbox::User=root", "-o"])
                .arg(format!("Dir::State={}", state.display()))
                .arg("-o")
                .arg(format!("Dir::Cache={}", cache.display()))
                .args(arguments)
                .args(if arguments.len() > 1 {
                    self.packages
                } else {
                    &[]
                });
            run(&mut apt).map_err(|error| {
                io::Error::other(format!(
                    "{error}\nThese tests run against packages of Debian: {}. They need `apt-get`, \
                     which Debian and Ubuntu have, and its archive, or a copy of it.",
                    self.packages.join(", ")
                ))
            })
        };
        apt(&["update"])?;
        apt(&[
            "install",
            "--yes",
            "--download-only",
            "--no-install-recommends",
        ])?;
        let root = folder.join("root");
        fs::create_dir_all(&root)?;
        for entry in fs::read_dir(&archives)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                run(Command::new("dpkg-deb").arg("-x").arg(path).arg(&root))?;
            }
        }
        // What was unpacked is all that is needed.
        fs::remove_dir_all(&cache)?;
        fs::remove_dir_all(&state)?;
        Ok(root)
    }
}
