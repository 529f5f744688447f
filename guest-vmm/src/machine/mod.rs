//! The machine a guest runs on: one CPU, memory, an interrupt controller, a timer, a console and a network
//! device, laid out as QEMU's `virt`.
//!
//! [`Machine`] is a state machine without clock or I/O over a [`Vcpu`]. Each exit of the virtual CPU is
//! given to [`Machine::exit`]; after it, and whenever time or the network device may have changed something,
//! [`Machine::settle`] delivers interrupts and says when to come again. Nothing a guest does is an error
//! of the machine: it is emulated, answered by a fault in the guest, or ends the guest.

pub mod boot;
mod emulate;
mod exit;
pub mod gic;
pub mod pl011;
pub mod psci;
pub mod timer;
mod tree;
mod vcpu;
mod wipe;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use resh_channel::memory::Words;

use crate::memory::GuestRam;
use crate::virtio::{Link, Misbehaviour, Net, REGISTERS_BYTES};

use boot::{BootError, Images, Layout, Loader};
use exit::Cause;
use gic::Gic;
use pl011::Pl011;

pub use exit::Exit;
pub use vcpu::{InUse, Registers, SystemRegister, Vcpu};

/// First address of RAM.
pub const RAM_BASE: u64 = 0x4000_0000;
/// The interrupt distributor.
pub const GIC_DISTRIBUTOR_BASE: u64 = 0x0800_0000;
/// The interrupt controller's CPU interface. It is hardware: the board maps the virtual one there.
pub const GIC_CPU_BASE: u64 = 0x0801_0000;
/// The console.
pub const UART_BASE: u64 = 0x0900_0000;
/// The network device.
pub const NET_BASE: u64 = 0x0a00_0000;
/// Length of its registers.
pub const NET_BYTES: u64 = REGISTERS_BYTES;
/// Its interrupt.
pub const NET_INTERRUPT: u16 = 48;

/// What a guest is made of.
pub struct Guest<'m, 'c> {
    /// Its memory, from [`RAM_BASE`] on.
    pub ram: &'m Words,
    /// What it is started from.
    pub images: Images<'m>,
    /// The kernel's command line.
    pub command_line: &'c str,
    /// Hardware address of its network device.
    pub mac: [u8; 6],
    /// Whether nobody has ever used its memory, so that it is zero.
    pub is_first: bool,
}

/// What the virtual CPU does.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing: its memory is being prepared.
    Preparing(Loader),
    /// It runs our own few instructions ([`wipe`]).
    Wiping,
    /// It has run them.
    Wiped,
    /// It runs, or will as soon as its exit is answered.
    Running,
    /// It waits for an interrupt. The timer's is due at that tick.
    Waiting {
        /// In ticks of the physical counter.
        timer_due: Option<u64>,
    },
    /// Nothing, any more.
    Ended,
}

/// Why a guest was stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Off,
    Reset,
    FetchOutsideRam(u64),
    Unknown(u64),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("it has switched its machine off"),
            Self::Reset => f.write_str("it has reset its machine"),
            Self::FetchOutsideRam(address) => {
                write!(f, "it executes what is not memory, at {address:#x}")
            }
            Self::Unknown(label) => write!(f, "its processor stopped for an unknown cause {label}"),
        }
    }
}

/// The machine of one guest.
pub struct Machine<'m, V> {
    vcpu: V,
    print: fn(fmt::Arguments<'_>),
    ram: GuestRam<'m>,
    images: Images<'m>,
    layout: Layout,
    tree: Vec<u8>,
    gic: Gic,
    uart: Pl011,
    net: Net,
    state: State,
    /// The virtual CPU waits for the answer to an exit.
    at_exit: bool,
    misbehaviours: u64,
}

impl<'m, V: Vcpu> Machine<'m, V> {
    /// Stops the virtual CPU, and plans the guest's memory. [`settle`](Self::settle) then prepares it and
    /// starts the guest. What the machine has to tell, and the lines of the guest's console, go to `print`.
    ///
    /// # Errors
    /// [`BootError`] if the guest cannot be started from these images.
    pub fn new(
        mut vcpu: V,
        guest: &Guest<'m, '_>,
        print: fn(fmt::Arguments<'_>),
    ) -> Result<Self, BootError> {
        // If this domain was started anew, the guest of its life before still runs.
        vcpu.stop();
        let ram = GuestRam::new(guest.ram, RAM_BASE);
        let layout = Layout::new(&ram, &guest.images)?;
        let tree = tree::write((ram.base(), ram.len()), &layout, guest.command_line)
            .map_err(|_| BootError::Tree)?;
        if tree.len() as u64 > boot::TREE_BYTES_MAX {
            return Err(BootError::Tree);
        }
        Ok(Self {
            vcpu,
            print,
            ram,
            images: guest.images,
            layout,
            tree,
            gic: Gic::new(),
            uart: Pl011::new(),
            net: Net::new(guest.mac),
            state: State::Preparing(Loader::new(guest.is_first)),
            at_exit: false,
            misbehaviours: 0,
        })
    }

    /// The gateway's end of the wire to the guest. [`settle`](Self::settle) after using it.
    pub fn link(&mut self) -> Link<'_, 'm> {
        self.net.link(self.ram)
    }

    /// Whether the guest is down for good: it has reset its machine, switched it off, or lost its way. The next
    /// one is another machine's.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Handles an exit of the virtual CPU. True: the guest has work for the other end of its network link.
    pub fn exit(&mut self, exit: Exit) -> bool {
        self.at_exit = true;
        match self.state {
            State::Running => {}
            // An interrupt that it ended; a timer that was on until now.
            State::Wiping if matches!(exit, Exit::Maintenance { .. } | Exit::Timer) => {
                return false;
            }
            State::Wiping => {
                self.state = State::Wiped;
                return false;
            }
            State::Preparing(_) | State::Wiped | State::Waiting { .. } | State::Ended => {
                return false;
            }
        }
        match exit {
            Exit::Timer => self.gic.set_line(gic::TIMER, true),
            Exit::Maintenance { index } => {
                if self.gic.ended(index) == Some(gic::TIMER) {
                    // If its line is still high, it is reported again.
                    self.gic.set_line(gic::TIMER, false);
                    self.vcpu.ack_timer();
                }
            }
            Exit::Memory { address, fetch, syndrome } => {
                return self.memory(address, exit::memory(address, fetch, syndrome));
            }
            Exit::Trap { syndrome } => self.trap(exit::trap(syndrome)),
            Exit::Call => self.trap(Cause::SecureMonitorCall),
            Exit::Other { label } => self.end(End::Unknown(label)),
        }
        false
    }

    /// Prepares memory, delivers interrupts, lets the guest run that has one to handle. Returns when to
    /// come again, in ticks.
    pub fn settle(&mut self, now_ticks: u64) -> Option<u64> {
        self.report_misbehaviour();
        match &mut self.state {
            State::Preparing(loader) => {
                let ready =
                    loader.step(&mut self.vcpu, &self.ram, &self.images, &self.layout, &self.tree);
                if !ready {
                    return Some(now_ticks);
                }
                wipe::enter(&mut self.vcpu, &self.ram, &self.layout);
                self.state = State::Wiping;
                self.vcpu.resume();
                None
            }
            State::Wiping => None,
            State::Wiped => {
                self.begin();
                None
            }
            State::Running => {
                self.deliver();
                None
            }
            State::Waiting { timer_due } => {
                let timer_due = *timer_due;
                if timer_due.is_some_and(|at| at <= now_ticks) {
                    self.gic.set_line(gic::TIMER, true);
                }
                self.set_lines();
                if !self.gic.is_pending() {
                    return timer_due;
                }
                self.gic.deliver(&mut self.vcpu);
                self.state = State::Running;
                if !self.at_exit {
                    self.vcpu.resume();
                }
                None
            }
            State::Ended => None,
        }
    }

    /// Ends the handling of an exit, after [`settle`](Self::settle). True: it is to be answered, and the
    /// guest runs on. Else the virtual CPU is stopped.
    #[must_use]
    pub fn answer(&mut self) -> bool {
        let waits = core::mem::take(&mut self.at_exit);
        let runs = matches!(self.state, State::Running | State::Wiping);
        if waits && !runs {
            self.vcpu.stop();
        }
        waits && runs
    }

    fn set_lines(&mut self) {
        self.gic.set_line(pl011::INTERRUPT, self.uart.line_is_high());
        self.gic.set_line(NET_INTERRUPT, self.net.interrupt_pending());
    }

    fn deliver(&mut self) {
        self.set_lines();
        self.gic.deliver(&mut self.vcpu);
    }

    /// Memory and virtual CPU are ready: the guest begins.
    fn begin(&mut self) {
        // The exit at which it is needs no answer.
        self.vcpu.stop();
        self.at_exit = false;
        wipe::leave(&mut self.vcpu, &self.ram, &self.layout);
        boot::enter(&mut self.vcpu, self.layout.kernel, self.layout.tree);
        let lost = self.gic.reset(&mut self.vcpu);
        if lost > 0 {
            (self.print)(format_args!("{lost} list registers are lost to an earlier guest"));
        }
        self.vcpu.ack_timer();
        self.state = State::Running;
        self.vcpu.resume();
    }

    fn end(&mut self, end: End) {
        self.uart.flush(self.print);
        (self.print)(format_args!("the guest has ended: {end}"));
        self.state = State::Ended;
    }

    /// Says what the driver of the network device did wrong: the first time, and then ever more rarely.
    fn report_misbehaviour(&mut self) {
        let Some(misbehaviour) = self.net.take_misbehaviour() else { return };
        self.misbehaviours = self.misbehaviours.saturating_add(1);
        if self.misbehaviours.is_power_of_two() {
            self.print_misbehaviour(&misbehaviour);
        }
    }

    fn print_misbehaviour(&self, misbehaviour: &Misbehaviour) {
        (self.print)(format_args!(
            "the guest's network driver breaks the rules, {} times by now: {misbehaviour}",
            self.misbehaviours
        ));
    }
}
