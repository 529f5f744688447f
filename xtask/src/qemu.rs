//! `cargo xtask qemu`: boots an image, with the services of the appliance on ports of this machine.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use resh_tests::board::{Board, Boot, Console};
use resh_tests::harness::Halt;

use crate::image;
use crate::problems::Failure;

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
    let services = services(options, &board)?;
    let mut forward = Vec::new();
    for (index, (_, address)) in services.iter().enumerate() {
        let port = u16::try_from(index).ok().and_then(|index| options.port.checked_add(index));
        let port =
            port.ok_or_else(|| "there is no port after 65535; choose a lower --port".to_owned())?;
        // It is closed again at once, for QEMU to have.
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
            format!("port {port} of 127.0.0.1 cannot be had: {error}; choose another with --port")
        })?;
        forward.push((port, *address));
    }
    let mut boot = Boot {
        image: options.image.as_deref().unwrap_or("loader.img".as_ref()),
        console: Console::Terminal,
        forward,
        icount: options.icount,
        extra: &options.extra,
    };
    // Before an image is built for nothing.
    start(&board, &boot)?;
    let built;
    match &options.image {
        Some(path) if !path.is_file() => {
            return Err(Failure::Missing(format!(
                "there is no file {}; leave --image out to build one",
                path.display()
            )));
        }
        Some(_) => {}
        None => {
            built = image::image(&options.build)?;
            boot.image = &built.path;
        }
    }
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
fn services(options: &Options, board: &Board) -> Result<Vec<(String, SocketAddr)>, String> {
    let checked =
        resh::config::load_with_guests(&options.build.appliance(board)).map_err(|diagnostics| {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        })?;
    let services = &checked.appliance.services;
    Ok(services.iter().map(|service| (service.name.to_string(), service.listen)).collect())
}
