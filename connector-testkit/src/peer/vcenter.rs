//! The vCenter peer.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::{
    debian::DebianPackages,
    install::{install_once, peers_folder, run},
    process::Process,
};

const PACKAGES: DebianPackages = DebianPackages {
    packages: &["golang-go", "golang-github-vmware-govmomi-dev"],
};
const PROGRAM: &str = include_str!("../../peers/vcsim/main.go");

/// A vCenter that others wrote: the simulator of `govmomi`, version 0.24.2 in Debian 12.
///
/// It listens on a free port of 127.0.0.1, in clear text, and has one datacenter with a cluster of
/// three hosts, a host of its own, all of two processors with eight cores together, and virtual
/// machines in both. The process ends when this is
/// dropped. Debian packages the library only, so the first test that needs it fetches library and
/// compiler, and builds a program around it in cargo's target folder, which takes about a minute.
///
/// # What it does
///
/// Found by asking it:
///
/// | asked | answered |
/// | --- | --- |
/// | `vimServiceVersions.xml`, `RetrieveServiceContent` | version 6.5, and an instance uuid |
/// | `Login`, right and wrong password | yes; `InvalidLogin` |
/// | without a session | `NotAuthenticated`, but not for `RetrievePropertiesEx`, which then says of each property that it is missing |
/// | container views, `RetrievePropertiesEx` | yes |
/// | `maxObjects` | ignored: all objects at once, never a token |
/// | a property that there is not | `missingSet` with `InvalidProperty` for each object |
/// | rights | everybody may do everything |
/// | prefix of the types of values | `XMLSchema-instance:`, where a vCenter has `xsi:` |
#[derive(Debug)]
pub struct VcenterPeer {
    process: Mutex<Process>,
    port: u16,
    instance: String,
}

impl VcenterPeer {
    /// Installs the peer if that was not done before, and starts it with so many virtual machines in
    /// each of two resource pools. The only account is this one.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started: with what was printed, and what to do.
    pub fn start(user: &str, password: &str, machines: u32) -> Self {
        match Self::try_start(user, password, machines) {
            Ok(peer) => peer,
            Err(error) => panic!("no vCenter peer: {error}"),
        }
    }

    fn try_start(user: &str, password: &str, machines: u32) -> io::Result<Self> {
        let mut process = Process::start(&mut Command::new(program()?))?;
        let start =
            json!({ "Op": "start", "User": user, "Password": password, "Machines": machines });
        let answer = process.ask(&start)?;
        let wrong = || io::Error::other(format!("it does not start: {answer}"));
        let text = |name: &str| answer["ok"][name].as_str().ok_or_else(wrong);
        Ok(Self {
            port: text("port")?.parse().map_err(|_| wrong())?,
            instance: text("instance")?.to_owned(),
            process: Mutex::new(process),
        })
    }

    /// Returns the address of the API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/sdk", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the instance uuid.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Turns a virtual machine off, by its path: `/DC0/vm/DC0_H0_VM0`.
    ///
    /// # Panics
    ///
    /// When the peer refuses.
    pub fn power_off(&self, path: &str) {
        self.ask(&json!({ "Op": "power_off", "Path": path }));
    }

    /// Destroys a virtual machine that is off.
    ///
    /// # Panics
    ///
    /// When the peer refuses.
    pub fn destroy(&self, path: &str) {
        self.ask(&json!({ "Op": "destroy", "Path": path }));
    }

    /// Gives a virtual machine a note and an amount of memory in MB.
    ///
    /// # Panics
    ///
    /// When the peer refuses.
    pub fn reconfigure(&self, path: &str, note: &str, memory: u32) {
        self.ask(&json!({ "Op": "annotate", "Path": path, "Value": note }));
        self.ask(&json!({ "Op": "memory", "Path": path, "Memory": memory }));
    }

    /// Gives the guest of a virtual machine a host name, as VMware Tools would.
    ///
    /// # Panics
    ///
    /// When the peer refuses.
    pub fn name_guest(&self, path: &str, host_name: &str) {
        self.ask(&json!({ "Op": "guest", "Path": path, "Value": host_name }));
    }

    /// Makes the custom attribute `owner`, and sets it on a virtual machine.
    ///
    /// # Panics
    ///
    /// When the peer refuses.
    pub fn own(&self, path: &str, owner: &str) {
        self.ask(&json!({ "Op": "custom", "Path": path, "Value": owner }));
    }

    /// Returns how many sessions are open.
    ///
    /// # Panics
    ///
    /// When the peer refuses.
    pub fn sessions(&self) -> u64 {
        let sessions = self.ask(&json!({ "Op": "sessions" }));
        sessions.as_u64().expect("the peer says a number")
    }

    fn ask(&self, question: &Value) -> Value {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match process.ask(question) {
            Ok(mut answer) if answer.get("error").is_none() => answer["ok"].take(),
            Ok(answer) => panic!("the vCenter peer refuses {question}: {answer}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Returns the program, once it is built.
fn program() -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (PROGRAM, PACKAGES.packages).hash(&mut hasher);
    let folder = peers_folder()?.join(format!("vcenter-{:016x}", hasher.finish()));
    install_once(&folder, || build(&folder))?;
    Ok(folder.join("vcsim"))
}

fn build(folder: &Path) -> io::Result<()> {
    let root = PACKAGES.unpack(folder)?;
    let source = folder.join("source");
    fs::create_dir_all(&source)?;
    fs::write(source.join("main.go"), PROGRAM)?;
    let mut go = match compiler(&root)? {
        // What is unpacked elsewhere has to be told where it is.
        Some(home) => {
            let mut go = Command::new(home.join("bin/go"));
            go.env("GOROOT", home);
            go
        }
        None => Command::new("go"),
    };
    let unpacked = root.join("usr/share/gocode");
    go.args(["build", "-o"])
        .arg(folder.join("vcsim"))
        .arg(".")
        .current_dir(&source)
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env(
            "GOPATH",
            format!("{}:/usr/share/gocode", unpacked.display()),
        )
        .env("GOCACHE", folder.join("built"));
    run(&mut go)?;
    // Half a gigabyte that nobody needs any more.
    fs::remove_dir_all(folder.join("built"))?;
    fs::remove_dir_all(&root)
}

/// Finds the compiler among what was unpacked; none where it was installed before.
fn compiler(root: &Path) -> io::Result<Option<PathBuf>> {
    let libraries = root.join("usr/lib");
    if !libraries.exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(libraries)? {
        let path = entry?.path();
        if path.join("bin/go").exists() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
