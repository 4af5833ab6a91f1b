//! The command that has the operating system run the host.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
};

use connector_core::{Error, ErrorKind, Result};
use tracing::{info, warn};

use crate::{cli::Verdict, config::Config, output};

/// Where systemd looks for units that an administrator adds.
const UNIT: &str = "/etc/systemd/system/datasync.service";

/// The one folder that the unit's program may write to: systemd makes it, for a user that exists
/// while the service runs.
const STATE: &str = "/var/lib/datasync";

/// Writes the unit, or prints it; on Windows prints the commands.
pub(crate) fn install(config: &Path, print: bool) -> Result<Verdict> {
    let config = Config::load(config)?;
    let program = std::env::current_exe().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't tell where this program is").with_source(error)
    })?;
    if cfg!(windows) {
        return show(&task(&program, &config.path));
    }
    check_places(&config)?;
    let unit = unit(&program, &config.path)?;
    if print {
        return show(&unit);
    }
    std::fs::write(UNIT, &unit).map_err(|error| {
        Error::new(
            ErrorKind::Config,
            "can't write the unit; run this as root, or have it printed with `--print`",
        )
        .with("file", UNIT)
        .with_source(error)
    })?;
    info!(
        "Wrote {UNIT}; next: `systemctl daemon-reload && systemctl enable --now datasync`, then \
         `journalctl -u datasync`"
    );
    warn_of_access(&config.path);
    Ok(Verdict::Good)
}

fn show(text: &str) -> Result<Verdict> {
    let mut out = output::open();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(output::failed)?;
    Ok(Verdict::Good)
}

/// Whatever the program writes must be where the unit lets it.
fn check_places(config: &Config) -> Result<()> {
    let mut places = vec![("state".to_owned(), config.state.clone())];
    if let Some(log) = &config.log {
        places.push(("log.folder".to_owned(), log.folder.clone()));
    }
    for (name, sink) in &config.sinks {
        if let Some(place) = sink.place() {
            places.push((format!("sink.{name}.path"), place.to_owned()));
        }
    }
    for (setting, place) in places {
        if !place.starts_with(STATE) {
            let name = place.file_name().map(PathBuf::from).unwrap_or_default();
            let wanted = Path::new(STATE).join(name);
            let message = format!(
                "{setting}: the service may write below {STATE} only; set it to \"{}\"",
                wanted.display()
            );
            return Err(Error::new(ErrorKind::Config, message).with("path", place.display()));
        }
    }
    Ok(())
}

/// The service has a user of its own, which reads the file like anybody.
fn warn_of_access(config: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(config).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 == 0) {
            warn!(
                "the service's user can't read {}; keep secrets in files or variables that the \
                 configuration names, and let everybody read it",
                config.display()
            );
        }
    }
    #[cfg(not(unix))]
    let _ = config;
}

/// A unit whose program can reach the network and one folder, and little else.
fn unit(program: &Path, config: &Path) -> Result<String> {
    let (program, config) = (quoted(program)?, quoted(config)?);
    Ok(format!(
        "[Unit]
Description=datasync: inventory data, exactly and fast
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={program} run --config {config}
Restart=on-failure
RestartSec=30s
# The data set in hand is finished; asked twice, it is abandoned, which is safe too.
TimeoutStopSec=5min

# A user that exists while the service runs, and a folder that it may write to.
DynamicUser=yes
StateDirectory=datasync
StateDirectoryMode=0700
WorkingDirectory={STATE}
UMask=0077

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
"
    ))
}

/// Quotes a path for a command line of systemd, where `%` and `$` mean something.
fn quoted(path: &Path) -> Result<String> {
    let wrong = || {
        let message = "a path that systemd can't be told: give the file another name";
        Error::new(ErrorKind::Config, message).with("path", path.display())
    };
    let text = path.to_str().ok_or_else(wrong)?;
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            letter if letter.is_control() => return Err(wrong()),
            letter => out.push(letter),
        }
    }
    out.push('"');
    Ok(out)
}

/// What an administrator runs in PowerShell. The task starts with the machine as Network Service, as
/// a service does, and again when it fails. The service manager itself starts only programs that
/// speak its protocol.
fn task(program: &Path, config: &Path) -> String {
    let literal = |text: String| format!("'{}'", text.replace('\'', "''"));
    let mut out = String::new();
    let argument = format!("run --config \"{}\"", config.display());
    for line in [
        format!(
            "$action = New-ScheduledTaskAction -Execute {} -Argument {}",
            literal(program.display().to_string()),
            literal(argument)
        ),
        "$trigger = New-ScheduledTaskTrigger -AtStartup".to_owned(),
        "$settings = New-ScheduledTaskSettingsSet -ExecutionTimeLimit 0 -RestartCount 999 \
         -RestartInterval (New-TimeSpan -Minutes 1) -MultipleInstances IgnoreNew"
            .to_owned(),
        "$user = New-ScheduledTaskPrincipal -UserId 'NT AUTHORITY\\NETWORK SERVICE' -LogonType \
         ServiceAccount"
            .to_owned(),
        "Register-ScheduledTask -TaskName datasync -Action $action -Trigger $trigger -Settings \
         $settings -Principal $user"
            .to_owned(),
        "Start-ScheduledTask -TaskName datasync".to_owned(),
    ] {
        let _ = writeln!(out, "{line}"); // A `String` takes everything.
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/datasync")).unwrap()
    }

    #[test]
    fn everything_that_is_written_must_be_where_the_unit_allows_it() {
        let good = "state = '/var/lib/datasync/state'\n";
        check_places(&config(good)).unwrap();
        let sink = "[sink.events]\nkind = 'ndjson'\npath = 'events.ndjson'";
        for (text, wanted) in [
            ("", "state: "),
            (
                &*format!("{good}log = {{ folder = 'logs' }}"),
                "log.folder: ",
            ),
            (&*format!("{good}{sink}"), "sink.events.path: "),
        ] {
            let error = check_places(&config(text)).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
            assert!(error.contains("\"/var/lib/datasync/"), "{error}");
        }
    }

    #[test]
    fn paths_are_quoted() {
        let unit = unit(
            Path::new("/opt/a \"b\" 100%/datasync"),
            Path::new("/etc/$x.toml"),
        );
        let line = r#"ExecStart="/opt/a \"b\" 100%%/datasync" run --config "/etc/$$x.toml""#;
        assert!(unit.unwrap().lines().any(|found| found == line));
        assert!(quoted(Path::new("/a\nb")).is_err());
        let task = task(Path::new(r"C:\It's\datasync.exe"), Path::new(r"C:\d.toml"));
        assert!(task.contains(r"-Execute 'C:\It''s\datasync.exe'"), "{task}");
        assert!(
            task.contains(r#"-Argument 'run --config "C:\d.toml"'"#),
            "{task}"
        );
    }
}
