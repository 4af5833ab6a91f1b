//! Packages of the Python Package Index, installed once and used by every later run.

use std::{
    env,
    ffi::OsStr,
    fs::{self, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// What is written last, so that a folder without it was never finished.
const COMPLETE: &str = "complete";

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
        self.python_in(&cache_folder()?.join("peers"))
    }

    fn python_in(&self, peers: &Path) -> io::Result<PathBuf> {
        let version = run(Command::new(SYSTEM_PYTHON).arg("--version"))
            .map_err(|error| io::Error::other(format!("{error}\nInstall Python 3.10 or newer.")))?;
        let folder = peers.join(format!("{}-{:016x}", self.name, self.digest(&version)));
        let python = folder.join(PYTHON);
        fs::create_dir_all(peers)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.with_extension("lock"))?;
        // Released when the file is closed, whatever becomes of this process.
        lock.lock()?;
        if !folder.join(COMPLETE).exists() {
            self.install(&folder, &python)?;
        }
        Ok(python)
    }

    fn install(&self, folder: &Path, python: &Path) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
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
        fs::write(folder.join(COMPLETE), "")
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

/// Runs a command to its end and returns what it wrote.
fn run(command: &mut Command) -> io::Result<String> {
    let shown = format!("{command:?}");
    let done = command
        .output()
        .map_err(|error| io::Error::other(format!("can't run {shown}: {error}")))?;
    let written = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(written);
    }
    let failure = String::from_utf8_lossy(&done.stderr);
    let status = done.status;
    Err(io::Error::other(format!(
        "{shown} failed ({status}):\n{written}{failure}"
    )))
}

/// Cargo's target folder, which the running test stands in, or else the user's cache.
fn cache_folder() -> io::Result<PathBuf> {
    let test = env::current_exe()?;
    // Cargo marks its target folder as a cache.
    if let Some(target) = test.ancestors().find(|a| a.join("CACHEDIR.TAG").exists()) {
        return Ok(target.to_path_buf());
    }
    user_cache().ok_or_else(|| {
        io::Error::other(format!(
            "{} is in no target folder of cargo, and there is no home folder to install into",
            test.display()
        ))
    })
}

fn user_cache() -> Option<PathBuf> {
    let folder = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else {
        variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
    };
    Some(folder?.join("datasync-tests"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| value != OsStr::new(""))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

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
