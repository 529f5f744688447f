//! `cargo xtask image`: the programs of all domains, the configuration and the guests, in one file that boots.

mod cache;
mod edit;
pub(crate) mod elf;
mod guests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use resh::system::{System, overlay};
use resh_tests::board::Board;
use resh_tests::harness::project_root;

use crate::aarch64::{Build, Toolchain};
use crate::command::target_dir;
use crate::problems::{Failure, Problems};
use crate::sdk::{KernelConfig, Sdk};
use cache::Cache;
use elf::Program;
use guests::Guests;

/// The board that is meant if none is named.
const DEFAULT_BOARD: &str = "qemu_virt_aarch64";

/// The name of the file that boots.
pub(crate) const LOADER: &str = "loader.img";

/// What goes into an image.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The board, a directory in boards/ with a board.toml
    #[arg(long, default_value = DEFAULT_BOARD)]
    pub(crate) board: String,
    /// The kernel's configuration: release, or debug, which says on the console when a domain faults
    #[arg(long, default_value = "release")]
    pub(crate) config: KernelConfig,
    /// The configuration of the appliance [default: resh.toml of the board]
    #[arg(long, value_name = "RESH.TOML")]
    pub(crate) appliance: Option<PathBuf>,
    /// Where the image and what it is made of go [default: target/images/BOARD]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) out: Option<PathBuf>,
    /// Another program for a domain, for tests
    #[arg(long, value_name = "DOMAIN=PROGRAM", value_parser = pair)]
    pub(crate) replace: Vec<(String, String)>,
    /// More arguments for the kernel of guest I, such as 1=resh.faults=1
    #[arg(long, value_name = "I=TEXT", value_parser = pair)]
    pub(crate) guest_command_line: Vec<(String, String)>,
    /// A feature of the programs, for tests
    #[arg(long, value_name = "PACKAGE/FEATURE")]
    pub(crate) features: Vec<String>,
}

/// An image, and what it was made of.
pub(crate) struct Image {
    /// The file that boots.
    pub(crate) path: PathBuf,
    /// The file of each program, by the names of the domains.
    pub(crate) programs: BTreeMap<String, PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            board: DEFAULT_BOARD.to_owned(),
            config: KernelConfig::Release,
            appliance: None,
            out: None,
            replace: Vec::new(),
            guest_command_line: Vec::new(),
            features: Vec::new(),
        }
    }
}

/// The packages of the programs of the default board.
pub(crate) fn packages() -> Result<Vec<String>, String> {
    Ok(Board::load(DEFAULT_BOARD).map_err(|error| error.to_string())?.packages)
}

impl Options {
    /// The file with the configuration of the appliance.
    pub(crate) fn appliance(&self, board: &Board) -> PathBuf {
        self.appliance.clone().unwrap_or_else(|| board.dir().join("resh.toml"))
    }

    /// The directory of the image and what it is made of.
    pub(crate) fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| target_dir().join("images").join(&self.board))
    }
}

/// Everything an image is made from, checked.
pub(crate) struct Inputs {
    board: Board,
    sdk: Sdk,
    toolchain: Toolchain,
    /// The system description with what the board adds.
    system_xml: String,
    system: System,
    guests: Guests,
}

/// Builds the image and prints how large it is.
///
/// # Errors
/// Everything that is missing or wrong, before anything is built; or what failed.
pub(crate) fn image(options: &Options) -> Result<Image, Failure> {
    let mut problems = Problems::default();
    let inputs = check(options, &mut problems);
    build(options, inputs, &problems)
}

/// Builds the image of what was checked, unless something is missing or wrong.
///
/// # Errors
/// What is missing or wrong, or what failed.
pub(crate) fn build(
    options: &Options,
    inputs: Option<Inputs>,
    problems: &Problems,
) -> Result<Image, Failure> {
    problems.none()?;
    // Whatever is not there has been reported.
    let inputs = inputs.ok_or_else(|| "the image cannot be built".to_owned())?;
    let build = Build {
        packages: &inputs.board.packages,
        features: &options.features,
        board: &options.board,
        config: options.config,
    };
    let built = build.run(&inputs.toolchain, &inputs.sdk)?;
    let image = assemble(options, &inputs, &built)?;
    print_sizes(&image)?;
    Ok(image)
}

/// Looks at everything that is needed, and says in `problems` all that is missing.
pub(crate) fn check(options: &Options, problems: &mut Problems) -> Option<Inputs> {
    let board = Board::load(&options.board).map_err(|error| problems.wrong(error)).ok()?;
    let sdk = Sdk::find(&options.board, options.config, problems);
    let toolchain = Toolchain::find(problems);
    let merged = merged_system(&board, problems);
    if problems.len() == 0 && options.appliance.is_none() {
        make_guests(problems);
    }
    let guests = Guests::load(
        &options.appliance(&board),
        &options.guest_command_line,
        merged.as_ref().map(|(system, _)| system),
        problems,
    );
    let (system, system_xml) = merged?;
    Some(Inputs { board, sdk: sdk?, toolchain: toolchain?, system_xml, system, guests: guests? })
}

/// Makes the guests that the board's own configuration names, if they are not there.
fn make_guests(problems: &mut Problems) {
    if let Err(failure) = crate::guest::guest(&crate::options("cargo xtask guest", &[])) {
        problems.add(&failure);
    }
}

/// `microkit-system.xml` with the board's additions, which must keep to the rules of authority, too.
fn merged_system(board: &Board, problems: &mut Problems) -> Option<(System, String)> {
    let merged =
        overlay::load(&project_root().join("microkit-system.xml"), &board.dir().join("board.xml"));
    merged.map_err(|diagnostics| problems.all_wrong(diagnostics)).ok()
}

/// Puts everything into the directory of the image, and has the Microkit tool make one file of it.
fn assemble(
    options: &Options,
    inputs: &Inputs,
    built: &BTreeMap<String, PathBuf>,
) -> Result<Image, String> {
    let out = options.out();
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut xml = inputs.system_xml.clone();
    for (domain, program) in &options.replace {
        let path = built.get(program).ok_or_else(|| {
            let known: Vec<_> = built.keys().map(String::as_str).collect();
            format!("there is no program {program}; there are: {}", known.join(", "))
        })?;
        let symbols = Program::read(path)?.symbols;
        let file = format!("{program}.elf");
        xml = edit::replace_program(&xml, domain, &file, |symbol| symbols.contains(symbol))?;
    }
    let mut files = inputs.guests.place(&mut xml, &out)?;
    write(&out.join("config.bin"), &inputs.guests.config_bin)?;
    files.push(out.join("config.bin"));
    let mut programs = BTreeMap::new();
    for domain in &inputs.system.domains {
        let replaced = options.replace.iter().find(|(name, _)| *name == domain.name);
        let program = match replaced {
            Some((_, program)) => program,
            None => domain.program.strip_suffix(".elf").unwrap_or(&domain.program),
        };
        let source = built.get(program).ok_or_else(|| {
            format!("domain {} needs program {program}, which no package builds", domain.name)
        })?;
        let path = out.join(format!("{program}.elf"));
        copy(source, &path)?;
        programs.insert(domain.name.clone(), path);
    }
    write(&out.join("system.xml"), xml.as_bytes())?;
    write(&out.join("entries.bin"), &entries(&inputs.system, &programs)?)?;
    files.push(out.join("entries.bin"));
    files.extend(programs.values().cloned());
    files.sort();
    files.dedup();
    let settings =
        format!("{} {} {}", options.board, options.config.name(), inputs.sdk.identity()?);
    let cache = Cache::of(&target_dir().join("images/cache"), &settings, &xml, &files)?;
    if !cache.restore(&out) {
        run_tool(options, &inputs.sdk, &out)?;
        cache.keep(&out);
    }
    Ok(Image { path: out.join(LOADER), programs })
}

/// The content of the region `entries`: where the program of each replica's domain begins. Such a program can be
/// started again, because it finds nothing changed but what its first instructions clear.
///
/// # Errors
/// If a program cannot be started again.
fn entries(system: &System, programs: &BTreeMap<String, PathBuf>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for gateway in system.gateways() {
        let path = programs.get(&gateway.name).ok_or("a replica's domain has no program")?;
        let program = Program::read(path)?;
        if program.initialised_bytes > 0 {
            return Err(format!(
                "{} has {} bytes of data that it may write and that do not begin as 0: a restart would not restore \
                 them (docs/runtime.md)",
                path.display(),
                program.initialised_bytes
            ));
        }
        bytes.extend(program.entry.to_le_bytes());
    }
    // Microkit 2.3.0 reads beyond the end of a file that is shorter than its region.
    let region_bytes = system.region("entries").map_or(0, |region| region.bytes);
    bytes.resize(usize::try_from(region_bytes).unwrap_or_default(), 0);
    Ok(bytes)
}

fn run_tool(options: &Options, sdk: &Sdk, out: &Path) -> Result<(), String> {
    println!("the Microkit tool makes one file of it; this takes half a minute");
    let mut command = Command::new(sdk.tool());
    command
        .arg(out.join("system.xml"))
        .args(["--board", &options.board, "--config", options.config.name()])
        .arg("--output")
        .arg(out.join(LOADER))
        .arg("--report")
        .arg(out.join("report.txt"))
        .arg("--search-path")
        .arg(out)
        .stdin(Stdio::null());
    let done = command.output().map_err(|error| format!("the Microkit tool: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Err(format!(
        "the Microkit tool refuses {}:\n{}",
        out.join("system.xml").display(),
        said.concat()
    ))
}

fn print_sizes(image: &Image) -> Result<(), String> {
    println!("{:32}{:>12}{:>12}", "program", "text bytes", "data bytes");
    let mut files: Vec<_> = image.programs.values().collect();
    files.sort();
    files.dedup();
    for path in files {
        let Program { text_bytes, data_bytes, .. } = Program::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{name:32}{text_bytes:>12}{data_bytes:>12}");
    }
    let bytes = fs::metadata(&image.path).map_err(|error| error.to_string())?.len();
    println!("{}: {bytes} bytes", image.path.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| format!("copying {} to {}: {error}", from.display(), to.display()))
}

/// `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{text:?} is not of the form name=value")),
    }
}
