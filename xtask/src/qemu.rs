//! `cargo xtask qemu`: boots an image, with the services of the appliance on ports of this machine.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use resh_tests::board::{Board, Boot, Console};
use resh_tests::harness::Halt;

use crate::image;
use crate::problems::{Failure, Problems};

/// How an image is booted.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// An image that is there already [default: build one]
    #[arg(long, value_name = "LOADER.IMG")]
    image: Option<PathBuf>,
    /// The port of this machine, on 127.0.0.1, for the first service; further ones get the next ports
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Count time in instructions, so that a run can be repeated exactly
    #[arg(long)]
    icount: bool,
    #[command(flatten)]
    build: image::Options,
    /// Further arguments of QEMU
    #[arg(last = true, value_name = "ARGUMENTS OF QEMU")]
    extra: Vec<String>,
}

/// Boots the image. This process becomes QEMU, so that it ends when QEMU does and the other way round.
///
/// # Errors
/// Whatever is missing, or failed; if all goes well it does not return.
pub(crate) fn qemu(options: &Options) -> Result<bool, Failure> {
    let board = Board::load(&options.build.board).map_err(|error| error.to_string())?;
    let mut problems = Problems::default();
    let services = services(options, &board, &mut problems);
    let forward = forward(options.port, &services, &mut problems);
    let mut boot = Boot {
        image: "loader.img".as_ref(),
        console: Console::Terminal,
        forward,
        icount: options.icount,
        extra: &options.extra,
    };
    // Before an image is built for nothing.
    if let Err(failure) = start(&board, &boot) {
        problems.add(&failure);
    }
    let built;
    boot.image = match &options.image {
        Some(path) => {
            if !path.is_file() {
                let what = format!("there is no file {}", path.display());
                problems.missing(what, "leave --image out to build one");
            }
            problems.none()?;
            path
        }
        None => {
            let inputs = image::check(&options.build, &mut problems);
            built = image::build(&options.build, inputs, &problems)?;
            &built.path
        }
    };
    let mut command = start(&board, &boot)?;
    println!();
    for ((name, _), (port, _)) in services.iter().zip(&boot.forward) {
        println!("{name}: in another terminal, `curl http://127.0.0.1:{port}/`");
    }
    println!("`status` and Enter show the replicas; ctrl-a x ends QEMU.\n");
    Err(Failure::Failed(format!("{}: {}", board.qemu.program, command.exec())))
}

fn start(board: &Board, boot: &Boot<'_>) -> Result<Command, Failure> {
    board.qemu(boot).map_err(|halt| match halt {
        Halt::Skip(what) => Failure::Missing(what),
        Halt::Fail(why) => Failure::Failed(why),
    })
}

/// Names and addresses of the services in the appliance's configuration.
fn services(
    options: &Options,
    board: &Board,
    problems: &mut Problems,
) -> Vec<(String, SocketAddr)> {
    match resh::config::load_with_guests(&options.build.appliance(board)) {
        Ok(checked) => {
            let services = checked.appliance.services.iter();
            services.map(|service| (service.name.to_string(), service.listen)).collect()
        }
        Err(diagnostics) => {
            // Else they are found again when the image is checked.
            if options.image.is_some() {
                problems.all_wrong(diagnostics);
            }
            Vec::new()
        }
    }
}

/// Ports of this machine for the services, from `first` on.
fn forward(
    first: u16,
    services: &[(String, SocketAddr)],
    problems: &mut Problems,
) -> Vec<(u16, SocketAddr)> {
    let ports = (first..=u16::MAX).zip(services).map(|(port, (_, address))| (port, *address));
    let ports: Vec<_> = ports.collect();
    for (port, _) in &ports {
        // It is closed again at once, for QEMU to have.
        if let Err(error) = TcpListener::bind(("127.0.0.1", *port)) {
            problems.wrong(format!(
                "port {port} of 127.0.0.1 cannot be had: {error}; choose another with --port"
            ));
        }
    }
    if ports.len() < services.len() {
        problems.wrong("there is no port after 65535; choose a lower --port");
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_gets_a_port_that_is_free() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let address = SocketAddr::from(([10, 0, 2, 15], 80));
        let services = [("web".to_owned(), address)];
        let mut problems = Problems::default();
        assert_eq!(forward(port, &services, &mut problems), [(port, address)]);
        assert!(problems.to_string().contains("--port"), "{problems}");
        let both = [services[0].clone(), services[0].clone()];
        let mut problems = Problems::default();
        assert_eq!(forward(65_535, &both, &mut problems).len(), 1);
        assert!(problems.to_string().contains("no port after 65535"), "{problems}");
    }
}
