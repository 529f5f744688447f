//! The monitor on the serial line: shows what all domains print, what changes, and the state of the
//! appliance to an operator who asks. It can look, and change nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use qemu_virt_aarch64::board::UART;
use qemu_virt_aarch64::pl011::Uart;
use resh_channel::config::{Appliance, ConfigError};
use resh_channel::log::Reader;
use resh_channel::memory::{Ordering, WORD_BYTES, Words};
use resh_channel::snapshot;
use resh_channel::stats::{NetworkStats, VoterStats};
use resh_status::model::Status;
use resh_status::render;
use resh_status::report::{Seen, supervised};
use resh_status::serial::{Changes, Command, HELP, Input, JSON_BYTES_MAX, LOOK_MS, Log};
use sel4_microkit::sel4::{Mmio, mmio};
use sel4_microkit::{ChannelSet, Handler, NotGranted, clock_s, now_ms, region, set_deadline};

sel4_microkit::program! {
    regions: [
        config, voter_stats, network_stats, supervision, uart, log_network, log_voter, log_supervisor, log_timer,
        log_gateway_0, log_gateway_1, log_gateway_2,
    ],
    start: start,
}

/// The domains that print, and the symbols of their logs.
const LOGS: [(&str, &str); 7] = [
    ("timer", "log_timer"),
    ("supervisor", "log_supervisor"),
    ("network", "log_network"),
    ("voter", "log_voter"),
    ("gateway_0", "log_gateway_0"),
    ("gateway_1", "log_gateway_1"),
    ("gateway_2", "log_gateway_2"),
];

/// Why the monitor cannot start.
enum Error {
    Region(NotGranted),
    Config(ConfigError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl From<NotGranted> for Error {
    fn from(error: NotGranted) -> Self {
        Self::Region(error)
    }
}

/// A published value, as it last could be read.
struct Published<T> {
    region: &'static Words,
    /// The number of that publication (`resh_channel::snapshot`).
    number: u64,
    scratch: Vec<u8>,
    last: Box<T>,
}

impl<T: Default + serde::de::DeserializeOwned> Published<T> {
    fn new(region: &'static Words) -> Self {
        let scratch = vec![0; region.len() * WORD_BYTES];
        Self { region, number: 0, scratch, last: Box::default() }
    }

    /// Whether there is another than was read last.
    fn is_new(&self) -> bool {
        self.region[0].load(Ordering::Relaxed) != self.number
    }

    fn read(&mut self) -> &T {
        let number = self.region[0].load(Ordering::Relaxed);
        if let Ok(value) = snapshot::read(self.region, &mut self.scratch) {
            *self.last = value;
            // If it was published meanwhile, it is read once more.
            self.number = number;
        }
        &self.last
    }
}

struct Monitor {
    uart: Uart<Mmio>,
    input: Input,
    logs: Vec<Log<'static>>,
    changes: Changes,
    appliance: Box<Appliance>,
    voter: Published<VoterStats>,
    network: Published<NetworkStats>,
    supervision: &'static Words,
    json: Vec<u8>,
    look_ms: u64,
}

fn start() -> Result<impl Handler, Error> {
    let mut uart = Uart::new(mmio("uart")?);
    let appliance = Appliance::in_region(region("config")?).map_err(Error::Config)?;
    let mut logs = Vec::with_capacity(LOGS.len());
    for (name, symbol) in LOGS {
        logs.extend(Reader::new(region(symbol)?).map(|reader| Log::new(name, reader)));
    }
    let (voter, network) = (region("voter_stats")?, region("network_stats")?);
    // Writing to the line cannot fail.
    let _ = writeln!(uart, "RESH, appliance {}: type `help` for what to ask", appliance.name);
    Ok(Monitor {
        uart,
        input: Input::default(),
        logs,
        changes: Changes::default(),
        appliance: Box::new(appliance),
        voter: Published::new(voter),
        network: Published::new(network),
        supervision: region("supervision")?,
        json: vec![0; JSON_BYTES_MAX],
        look_ms: 0,
    })
}

/// The line, with what is being typed out of the way of what is written.
struct Between<'a> {
    uart: &'a mut Uart<Mmio>,
    input: &'a Input,
    hidden: bool,
}

impl Write for Between<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !core::mem::replace(&mut self.hidden, true) {
            self.input.hide(self.uart)?;
        }
        self.uart.write_str(text)
    }
}

impl Between<'_> {
    fn end(self) -> fmt::Result {
        if self.hidden { self.input.show(self.uart) } else { Ok(()) }
    }
}

impl Monitor {
    fn status(&mut self) -> Status {
        let seen = Seen {
            appliance: &self.appliance,
            voter: self.voter.read(),
            network: self.network.read(),
            supervised: supervised(self.supervision),
            clock_s: clock_s(),
            uptime_s: now_ms() / 1000,
        };
        seen.status()
    }

    /// Shows what is new.
    fn look(&mut self) -> fmt::Result {
        let status = self.voter.is_new().then(|| self.status());
        let mut out = Between { uart: &mut self.uart, input: &self.input, hidden: false };
        for log in &mut self.logs {
            log.write(&mut out)?;
        }
        if let Some(status) = &status {
            self.changes.write(&mut out, status)?;
        }
        out.end()
    }

    /// Takes what was typed.
    fn listen(&mut self) -> fmt::Result {
        while let Some(byte) = self.uart.receive() {
            if let Some(command) = self.input.take(byte, &mut self.uart)? {
                self.answer(command)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, command: Command) -> fmt::Result {
        match command {
            Command::Status => {
                let status = self.status();
                render::write(&mut self.uart, &status)
            }
            Command::Json => {
                let status = self.status();
                let len = serde_json_core::to_slice(&status, &mut self.json).unwrap_or(0);
                self.json[..len].iter().for_each(|byte| self.uart.send(*byte));
                self.uart.write_str("\n")
            }
            Command::Help => self.uart.write_str(HELP),
            Command::Unknown => write!(self.uart, "there is no such command\n{HELP}"),
        }
    }
}

impl Handler for Monitor {
    type Error = fmt::Error;

    fn notified(&mut self, woken: ChannelSet) -> Result<(), fmt::Error> {
        if woken.contains(UART) {
            self.uart.acknowledge();
            UART.irq_ack();
        }
        self.listen()?;
        if now_ms() >= self.look_ms {
            self.look_ms = now_ms() + LOOK_MS;
            self.look()?;
        }
        set_deadline(Some(self.look_ms));
        Ok(())
    }
}
