//! The command `resh`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use resh::launcher::{self, Options};
use resh::{allocator, demo, domain, replica, status};

#[global_allocator]
static ALLOCATOR: allocator::Sealable = allocator::Sealable;

/// A voting front for services you cannot change: every request goes to several diverse replicas, and
/// only what a quorum agrees on goes back.
#[derive(Parser)]
#[command(name = "resh", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a voted web service with built-in replicas, to play with
    Demo {
        /// Where clients connect to
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// How many replicas, 1 to 3
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
        replicas: u8,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Run the appliance of a configuration file until SIGINT or SIGTERM
    Run {
        /// The configuration, see docs/configuration.md
        config: PathBuf,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Check a configuration file and the system description, and start nothing
    Check {
        /// The configuration, see docs/configuration.md
        config: PathBuf,
        /// Another system description than the built-in one
        #[arg(long, value_name = "XML")]
        system: Option<PathBuf>,
    },
    /// Show what a running appliance does
    Status {
        /// Which appliance; may be left out if there is but one
        name: Option<String>,
        /// Print what the monitor says as JSON
        #[arg(long)]
        json: bool,
        /// Once a second, until the appliance is gone
        #[arg(long)]
        watch: bool,
        /// Where the appliance's control socket is
        #[arg(long, value_name = "DIR")]
        runtime_dir: Option<PathBuf>,
    },
    /// Take a replica out, let it in again, or have it begin anew
    Replica {
        /// [APPLIANCE] exclude|include|rejuvenate REPLICA: the appliance may be left out if there is but one; the
        /// replica by number or name
        #[arg(num_args = 2..=3, required = true, value_name = "WORDS")]
        words: Vec<String>,
        /// Where the appliance's control socket is
        #[arg(long, value_name = "DIR")]
        runtime_dir: Option<PathBuf>,
    },
    /// Make a replica of the demo misbehave, or behave again
    Fault {
        /// Index or name of the replica
        replica: String,
        /// corrupt, hang, slow, kill or clear
        fault: String,
        /// Name of the demo; may be left out if there is but one
        #[arg(long)]
        name: Option<String>,
        /// Where the demo's control socket is
        #[arg(long, value_name = "DIR")]
        runtime_dir: Option<PathBuf>,
    },
    /// A domain's process
    #[command(name = launcher::spawn::DOMAIN_COMMAND, hide = true)]
    Domain { program: String, name: String, grants_fd: i32 },
}

#[derive(clap::Args)]
struct RunOptions {
    /// Another system description than the built-in one
    #[arg(long, value_name = "XML")]
    system: Option<PathBuf>,
    /// Where the control socket goes
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Run another program as a domain (tests of faults)
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "DOMAIN=PROGRAM", value_parser = replacement)]
    replace: Vec<(String, String)>,
}

#[cfg(feature = "faults")]
fn replacement(text: &str) -> Result<(String, String), String> {
    let (domain, program) = text.split_once('=').ok_or("write DOMAIN=PROGRAM")?;
    Ok((domain.to_owned(), program.to_owned()))
}

impl From<RunOptions> for Options {
    fn from(options: RunOptions) -> Self {
        Self {
            system: options.system,
            runtime_dir: options.runtime_dir,
            #[cfg(feature = "faults")]
            replace: options.replace,
            #[cfg(not(feature = "faults"))]
            replace: Vec::new(),
            greeting: None,
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = demo::internal_command(&words) {
        return code;
    }
    match Arguments::parse().command {
        Command::Demo { listen, replicas, options } => run_demo(listen, replicas, options.into()),
        Command::Run { config, options } => run(&config, &options.into()),
        Command::Check { config, system } => {
            check(&config, &Options { system, ..Options::default() })
        }
        Command::Status { name, json, watch, runtime_dir } => {
            status::run(&status::Options { json, watch, runtime_dir, name })
        }
        Command::Replica { words, runtime_dir } => {
            replica::run(&replica::Options { words, runtime_dir })
        }
        Command::Fault { replica, fault, name, runtime_dir } => {
            demo::fault(&demo::FaultOptions { replica, fault, runtime_dir, name })
        }
        Command::Domain { program, name, grants_fd } => {
            eprintln!("{name}: {}", domain::main(&program, grants_fd));
            ExitCode::FAILURE
        }
    }
}

fn run_demo(listen: SocketAddr, replicas: u8, options: Options) -> ExitCode {
    let runtime_dir = options.runtime_dir.clone();
    let demo = demo::Options { listen, replicas: usize::from(replicas), runtime_dir };
    match demo::Demo::start(&demo) {
        Ok(demo) => {
            let options = Options { greeting: Some(demo.guide()), ..options };
            run(&demo.config_path, &options)
        }
        Err(error) => {
            eprintln!("resh demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &std::path::Path, options: &Options) -> ExitCode {
    let checked = match launcher::check(config, options) {
        Ok(checked) => checked,
        Err(faults) => return refuse(&faults),
    };
    launcher::run(&checked, options).unwrap_or_else(|error| {
        eprintln!("resh: {error}");
        ExitCode::FAILURE
    })
}

fn check(config: &std::path::Path, options: &Options) -> ExitCode {
    match launcher::check(config, options) {
        Ok(_) => {
            println!("{}: no fault found", config.display());
            ExitCode::SUCCESS
        }
        Err(faults) => refuse(&faults),
    }
}

/// Exit status for a wrong configuration (`EX_CONFIG` of sysexits.h).
const WRONG_CONFIG: u8 = 78;

fn refuse(faults: &[resh::diagnostic::Diagnostic]) -> ExitCode {
    for fault in faults {
        eprintln!("{fault}");
    }
    ExitCode::from(WRONG_CONFIG)
}
