//! The command line.

use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use connector_core::{Error, ErrorKind, Result};
use tracing::error;

use crate::{
    command,
    console::{Console, LogFormat},
    host::Selection,
    output,
};

/// How long work that was abandoned may take to notice it.
const GRACE: Duration = Duration::from_secs(5);

/// How long goodbyes may take, and how often it is looked whether all are said.
const GOODBYES: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(2);

/// Reads inventory data from the systems that an IT department runs and sends the changes.
#[derive(Debug, Parser)]
#[command(
    name = "datasync",
    version,
    after_help = "Exit code: 0; 1 when a data set failed or is held, or a sink failed; 2 for \
                  usage or configuration."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "datasync.toml"
    )]
    pub(crate) config: PathBuf,
    /// How the log is written to standard error.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Log more; twice for all.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only; twice for errors only.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    quiet: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reach every source, sign in, and try each data set.
    Check {
        /// Only these connectors.
        connectors: Vec<String>,
    },
    /// List the data sets that the connectors offer.
    Datasets {
        /// Only these connectors.
        connectors: Vec<String>,
        /// Show the columns too.
        #[arg(long)]
        schema: bool,
    },
    /// Run one cycle: send what changed since the last one.
    Sync {
        /// Only these connectors.
        connectors: Vec<String>,
        /// Only this data set; may be repeated.
        #[arg(long = "dataset", value_name = "NAME")]
        datasets: Vec<String>,
        /// Only the data sets of this category; may be repeated.
        #[arg(long = "category", value_name = "NAME")]
        categories: Vec<String>,
        /// Drop what was synced before, and load in full.
        #[arg(long)]
        clean: bool,
    },
    /// Commit the cycle that the delete guard holds, and send it.
    Approve {
        /// The connector.
        connector: String,
        /// The data set.
        dataset: String,
    },
    /// Drop the cycle that the delete guard holds; the next one reads the source again.
    Reject {
        /// The connector.
        connector: String,
        /// The data set.
        dataset: String,
    },
    /// Remove a data set that is gone at the source for good, from the sinks too.
    Forget {
        /// The connector.
        connector: String,
        /// The data set.
        dataset: String,
    },
    /// Run every connector's cycles at its own interval until stopped.
    Run,
    /// Show how far every data set is.
    Status,
    /// Print the records of a data set as they were last synced.
    Show {
        /// The connector.
        connector: String,
        /// The data set.
        dataset: String,
        /// How they are printed. In CSV null is printed as empty text; NDJSON loses nothing.
        #[arg(long, value_enum, default_value = "csv")]
        format: RowFormat,
    },
    /// Print the kept change events of a data set, oldest first, as the ndjson sink writes them.
    Changes {
        /// The connector.
        connector: String,
        /// The data set.
        dataset: String,
    },
    /// Read every repository back and compare it with the records as they were last synced.
    Verify {
        /// Only these connectors.
        connectors: Vec<String>,
    },
    /// Take what others upload, and keep it in repositories, until stopped.
    #[command(args_conflicts_with_subcommands = true)]
    Receive {
        #[command(subcommand)]
        command: Option<ReceiveCommand>,
    },
    /// Write a commented example of a configuration file.
    Init {
        /// Where to. Default: the configuration file.
        file: Option<PathBuf>,
    },
    /// Have the operating system run the host: writes a systemd unit; on Windows prints the
    /// commands to run.
    Install {
        /// As a service that starts with the machine.
        #[arg(long, required = true)]
        service: bool,
        /// Print the unit and write nothing.
        #[arg(long)]
        print: bool,
    },
    /// Print a script that completes this program's arguments.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiveCommand {
    /// Print a setup token, by which a sender enrols.
    Token {
        /// Whose records the sender's are.
        #[arg(long)]
        tenant: String,
        /// A connector that the sender may send; may be repeated.
        #[arg(long = "sync", value_name = "NAME", required = true)]
        syncs: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RowFormat {
    /// A line of headings, then a line a record.
    Csv,
    /// One JSON object a record.
    Ndjson,
}

/// Whether everything went well. Details are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// A data set failed or is held, or a sink failed.
    Bad,
}

impl From<bool> for Verdict {
    fn from(ok: bool) -> Self {
        if ok { Self::Good } else { Self::Bad }
    }
}

/// Runs the program with these arguments, the first of which is its name.
///
/// The exit code is 0; 1 when a data set failed or is held, or a sink failed; 2 for usage or
/// configuration.
pub fn run<I>(arguments: I) -> ExitCode
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; if neither takes it there
            // is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let verbosity = i16::from(cli.global.verbose) - i16::from(cli.global.quiet);
    let console = Console::start(cli.global.log_format, verbosity);
    let verdict = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let verdict = runtime.block_on(async {
                let verdict = Box::pin(perform(cli, console)).await;
                goodbyes().await;
                verdict
            });
            runtime.shutdown_timeout(GRACE);
            verdict
        }
        Err(error) => {
            Err(Error::new(ErrorKind::Unexpected, "can't start threads").with_source(error))
        }
    };
    match verdict {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::from(if error.kind() == ErrorKind::Config {
                2
            } else {
                1
            })
        }
    }
}

/// Waits for what connectors do when they are dropped, in tasks of their own: a source that keeps
/// sessions counts those that nobody closed.
async fn goodbyes() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let all = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    // What hangs is left to its source.
    let _ = tokio::time::timeout(GOODBYES, all).await;
}

async fn perform(cli: Cli, console: Console) -> Result<Verdict> {
    let config = cli.global.config;
    match cli.command {
        Command::Check { connectors } => command::check(&config, &connectors).await,
        Command::Datasets { connectors, schema } => {
            command::datasets(&config, &connectors, schema).await
        }
        Command::Sync {
            connectors,
            datasets,
            categories,
            clean,
        } => {
            let selection = Selection {
                datasets,
                categories,
                clean,
            };
            command::sync(&config, &connectors, &selection, console).await
        }
        Command::Approve { connector, dataset } => {
            command::approve(&config, &connector, &dataset, console).await
        }
        Command::Reject { connector, dataset } => {
            command::reject(&config, &connector, &dataset, console).await
        }
        Command::Forget { connector, dataset } => {
            command::forget(&config, &connector, &dataset, console).await
        }
        Command::Run => command::run(&config, console).await,
        Command::Status => command::status(&config).await,
        Command::Show {
            connector,
            dataset,
            format,
        } => command::show(&config, &connector, &dataset, format).await,
        Command::Changes { connector, dataset } => {
            command::changes(&config, &connector, &dataset).await
        }
        Command::Verify { connectors } => command::verify(&config, &connectors, console).await,
        Command::Receive { command: None } => command::receive(&config).await,
        Command::Receive {
            command: Some(ReceiveCommand::Token { tenant, syncs }),
        } => command::token(&config, &tenant, &syncs).await,
        Command::Init { file } => command::init(&file.unwrap_or(config)),
        Command::Install { print, .. } => command::install(&config, print),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Verdict> {
    let mut script = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "datasync", &mut script);
    let mut out = output::open();
    out.write_all(&script)
        .and_then(|()| out.flush())
        .map_err(output::failed)?;
    Ok(Verdict::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn global_options_go_anywhere() {
        let cli = Cli::try_parse_from(["datasync", "sync", "hr", "--config", "a.toml", "-qq"]);
        let cli = cli.unwrap();
        assert_eq!(cli.global.config, PathBuf::from("a.toml"));
        assert_eq!(cli.global.quiet, 2);
    }
}
