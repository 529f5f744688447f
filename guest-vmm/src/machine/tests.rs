//! A machine over a processor that only remembers.

mod fake;
mod properties;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use resh_channel::memory::{AtomicU64, Bytes, Ordering, Words, copy_in};

use super::boot::EL1H_MASKED;
use super::*;
use fake::{Cpu, List};

std::thread_local! {
    pub(super) static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn print(line: core::fmt::Arguments<'_>) {
    PRINTED.with_borrow_mut(|lines| lines.push(line.to_string()));
}

pub(super) const RAM_BYTES: usize = 4 << 20;
pub(super) const KERNEL_BYTES: usize = 3000;
pub(super) const INITRAMFS: &[u8] = b"a file system of twenty-nine";

pub(super) fn words(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect()
}

/// An `Image` of so many bytes with these fields in its header.
pub(super) fn image(text_offset: u64, image_bytes: u64, flags: u64) -> Vec<u8> {
    let mut image: Vec<u8> = (0..KERNEL_BYTES).map(|at| at as u8).collect();
    for (at, field) in [(8, text_offset), (16, image_bytes), (24, flags)] {
        image[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

/// The memory that a machine borrows.
pub(super) struct Parts {
    pub(super) ram: Vec<AtomicU64>,
    kernel: Vec<AtomicU64>,
    initramfs: Vec<AtomicU64>,
}

impl Parts {
    pub(super) fn new() -> Self {
        let (kernel, initramfs) = (words(KERNEL_BYTES), words(INITRAMFS.len()));
        copy_in(&kernel, &image(0, 1 << 20, 0));
        copy_in(&initramfs, INITRAMFS);
        Self { ram: words(RAM_BYTES), kernel, initramfs }
    }

    pub(super) fn machine<'m>(&'m self, ram: &'m Words, cpu: &Cpu) -> Machine<'m, Cpu> {
        self.machine_in(ram, cpu, true)
    }

    /// The machine of the first life of a domain, or of a later one.
    fn machine_in<'m>(&'m self, ram: &'m Words, cpu: &Cpu, is_first: bool) -> Machine<'m, Cpu> {
        let guest = Guest {
            ram,
            images: Images {
                kernel: Bytes::new(&self.kernel, KERNEL_BYTES),
                initramfs: Bytes::new(&self.initramfs, INITRAMFS.len()),
            },
            command_line: "quiet resh.name=a",
            mac: [2, 0, 0, 0, 0, 1],
            is_first,
        };
        Machine::new(cpu.clone(), &guest, print).unwrap()
    }
}

/// Prepares the guest's memory until the machine's own program is to run.
fn prepare(machine: &mut Machine<'_, Cpu>) {
    for _ in 0..100 {
        if machine.settle(0).is_none() {
            return;
        }
    }
    panic!("the memory is never ready");
}

/// Prepares the guest's memory, and runs the machine's own program until the guest runs.
pub(super) fn start(machine: &mut Machine<'_, Cpu>, cpu: &Cpu) {
    prepare(machine);
    assert!(exit(machine, cpu, SMC, 0), "the guest does not begin");
}

/// What the machine's own program ends with.
const SMC: Exit = Exit::Trap { syndrome: 0x17 << 26 };

/// A machine that runs, and its processor.
macro_rules! running {
    ($parts:ident, $cpu:ident, $machine:ident) => {
        let $parts = Parts::new();
        let $cpu = Cpu::new();
        let mut $machine = $parts.machine(&$parts.ram, &$cpu);
        start(&mut $machine, &$cpu);
        PRINTED.take();
    };
}

/// An exit, as the domain handles it. True: the guest goes on.
pub(super) fn exit(machine: &mut Machine<'_, Cpu>, cpu: &Cpu, exit: Exit, now: u64) -> bool {
    cpu.0.borrow_mut().runs = false;
    machine.exit(exit);
    machine.settle(now);
    let answered = machine.answer();
    let mut log = cpu.0.borrow_mut();
    log.runs |= answered;
    log.runs
}

fn access(machine: &mut Machine<'_, Cpu>, cpu: &Cpu, address: u64, write: Option<u64>) -> u64 {
    let before = cpu.0.borrow().registers;
    cpu.0.borrow_mut().registers.x[3] = write.unwrap_or(0);
    // ISV, 32 bits, X3.
    let syndrome =
        0x24 << 26 | 1 << 24 | 2 << 22 | 3 << 16 | u64::from(write.is_some()) << 6 | 0b111;
    let memory = Exit::Memory { address, fetch: false, syndrome };
    assert!(exit(machine, cpu, memory, 0));
    let after = cpu.0.borrow().registers;
    assert_eq!(after.pc, before.pc + 4);
    after.x[3]
}

fn gicd(machine: &mut Machine<'_, Cpu>, cpu: &Cpu, offset: u64, value: u64) {
    access(machine, cpu, GIC_DISTRIBUTOR_BASE + offset, Some(value));
}

fn enable(machine: &mut Machine<'_, Cpu>, cpu: &Cpu, intid: u16) {
    gicd(machine, cpu, 0, 1);
    gicd(machine, cpu, 0x100 + u64::from(intid / 32) * 4, 1 << (intid % 32));
}

fn wait(machine: &mut Machine<'_, Cpu>, cpu: &Cpu) -> bool {
    exit(machine, cpu, Exit::Trap { syndrome: 1 << 26 }, 0)
}

fn call(machine: &mut Machine<'_, Cpu>, cpu: &Cpu, function: u64) -> bool {
    cpu.0.borrow_mut().registers.x[0] = function;
    exit(machine, cpu, Exit::Trap { syndrome: 0x17 << 26 }, 0)
}

fn pending(cpu: &Cpu) -> Vec<u16> {
    let lists = cpu.0.borrow().lists;
    let intids = lists.iter().filter_map(|list| match list {
        List::Pending { intid, priority } if *priority < 31 => Some(*intid),
        _ => None,
    });
    intids.collect()
}

/// The guest takes the interrupt in a list register, and ends it.
fn handle(machine: &mut Machine<'_, Cpu>, cpu: &Cpu, intid: u16) {
    let at = |list: &List| matches!(list, List::Pending { intid: at, .. } if *at == intid);
    let index = cpu.0.borrow().lists.iter().position(at).expect("it is pending");
    cpu.0.borrow_mut().lists[index] = List::Active { intid };
    machine.settle(0);
    cpu.0.borrow_mut().lists[index] = List::Empty;
    assert!(exit(machine, cpu, Exit::Maintenance { index }, 0));
}

#[test]
fn a_guest_begins_as_linux_wants() {
    let parts = Parts::new();
    let cpu = Cpu::new();
    let mut machine = parts.machine(&parts.ram, &cpu);
    assert!(!cpu.0.borrow().runs, "an old guest would still run");
    start(&mut machine, &cpu);
    let (layout, tree) = (machine.layout, machine.tree.clone());
    let log = cpu.0.borrow();
    assert!(log.runs);
    assert_eq!(log.registers.pc, RAM_BASE);
    assert_eq!(log.registers.x[0], layout.tree);
    assert_eq!(log.registers.x[1..], [0; 30]);
    assert_eq!((log.registers.sp, log.unified), (0, 1));
    assert_eq!(log.registers.spsr, EL1H_MASKED);
    // MMU and caches are off.
    assert_eq!(log.system[&(SystemRegister::SctlrEl1 as u8)] & 0b1_0000_0000_0101, 0);
    let ram = GuestRam::new(&parts.ram, RAM_BASE);
    let mut kernel = [0; KERNEL_BYTES];
    ram.read(RAM_BASE, &mut kernel).unwrap();
    assert_eq!(kernel[..], image(0, 1 << 20, 0)[..]);
    let mut initramfs = [0; INITRAMFS.len()];
    ram.read(layout.initramfs.0, &mut initramfs).unwrap();
    assert_eq!(initramfs, INITRAMFS);
    assert_eq!(ram.read_u32(layout.tree), Ok(0xd00d_feed_u32.swap_bytes()));
    let holds = |text: &[u8]| tree.windows(text.len()).any(|window| window == text);
    assert!(holds(b"quiet resh.name=a\0") && holds(b"virtio,mmio\0") && holds(b"arm,psci-1.0\0"));
    assert!(log.cleaned_words * 8 >= KERNEL_BYTES + INITRAMFS.len() + tree.len());
}

#[test]
fn images_that_cannot_be_started_are_told_apart() {
    let initramfs = words(0);
    let ram = words(RAM_BYTES);
    let layout = |kernel: &[u8], ram: &Words| {
        let kernel_words = words(kernel.len());
        copy_in(&kernel_words, kernel);
        let images = Images {
            kernel: Bytes::new(&kernel_words, kernel.len()),
            initramfs: Bytes::new(&initramfs, 0),
        };
        Layout::new(&GuestRam::new(ram, RAM_BASE), &images)
    };
    assert!(layout(&image(0, 1 << 20, 0b1010), &ram).is_ok());
    assert_eq!(layout(&image(0x8_0000, 1 << 20, 0), &ram).unwrap().kernel, RAM_BASE + 0x8_0000);
    assert_eq!(layout(&image(0, 0, 0), &ram), Err(BootError::NotAnImage));
    assert_eq!(layout(&image(1, 1 << 20, 0), &ram), Err(BootError::NotAnImage));
    assert_eq!(layout(&image(0, 1 << 20, 1), &ram), Err(BootError::BigEndian));
    assert_eq!(layout(&[], &ram), Err(BootError::NotAnImage));
    assert_eq!(layout(&image(0, 0, 0)[..63], &ram), Err(BootError::NotAnImage));
    assert_eq!(layout(&[0x1f, 0x8b, 8, 0], &ram), Err(BootError::Compressed("gzip")));
    assert_eq!(layout(b"MZ\0\0zimg", &ram), Err(BootError::Compressed("EFI zboot")));
    for (text_offset, image_bytes) in
        [(0, RAM_BYTES as u64), (RAM_BYTES as u64, 1 << 20), (0, u64::MAX), (!0xfff, u64::MAX)]
    {
        let large = layout(&image(text_offset, image_bytes, 0), &ram);
        assert!(matches!(large, Err(BootError::TooLarge(_))), "{text_offset:#x} {large:?}");
    }
    assert_eq!(layout(&image(0, 4096, 0), &ram[..1000]), Err(BootError::Ram));
    assert_eq!(layout(&image(0, 4096, 0), &[]), Err(BootError::Ram));
}

#[test]
fn interrupts_come_in_the_order_of_their_priorities() {
    running!(parts, cpu, machine);
    // GICD_TYPER: 96 interrupts, one CPU.
    assert_eq!(access(&mut machine, &cpu, GIC_DISTRIBUTOR_BASE + 4, None), 2);
    gicd(&mut machine, &cpu, 0, 1);
    for intid in 40..46_u64 {
        // The higher the number, the more urgent.
        let priorities = (0x200 - intid * 8) & 0xf8;
        let register = 0x400 + (intid & !3);
        let old = access(&mut machine, &cpu, GIC_DISTRIBUTOR_BASE + register, None);
        let shift = 8 * (intid % 4);
        gicd(&mut machine, &cpu, register, old & !(0xff << shift) | priorities << shift);
        machine.gic.set_line(intid as u16, true);
    }
    assert_eq!(pending(&cpu), []);
    gicd(&mut machine, &cpu, 0x104, 0x3f << 8);
    assert_eq!(pending(&cpu), [45, 44, 43, 42]);
    // Each that ends makes room for one; its line is still high, so that it comes again.
    handle(&mut machine, &cpu, 45);
    assert_eq!(pending(&cpu), [45, 44, 43, 42]);
    machine.gic.set_line(45, false);
    handle(&mut machine, &cpu, 45);
    assert_eq!(pending(&cpu), [41, 44, 43, 42]);
    for intid in 40..46 {
        machine.gic.set_line(intid, false);
    }
    handle(&mut machine, &cpu, 41);
    assert_eq!(pending(&cpu), [44, 43, 42]);
}

#[test]
fn software_generated_interrupts_reach_the_one_cpu() {
    running!(parts, cpu, machine);
    enable(&mut machine, &cpu, 5);
    enable(&mut machine, &cpu, 6);
    // To CPU 1; to all others: nobody.
    gicd(&mut machine, &cpu, 0xf00, 2 << 16 | 5);
    gicd(&mut machine, &cpu, 0xf00, 1 << 24 | 5);
    assert_eq!(pending(&cpu), []);
    gicd(&mut machine, &cpu, 0xf00, 1 << 16 | 5);
    gicd(&mut machine, &cpu, 0xf00, 2 << 24 | 6);
    assert_eq!(pending(&cpu), [5, 6]);
    // Sent again before it was taken, it comes again.
    gicd(&mut machine, &cpu, 0xf00, 1 << 16 | 5);
    handle(&mut machine, &cpu, 5);
    assert_eq!(pending(&cpu), [5, 6]);
    handle(&mut machine, &cpu, 5);
    assert_eq!(pending(&cpu), [6]);
}

#[test]
fn a_timer_that_fires_early_waits_for_the_guest() {
    running!(parts, cpu, machine);
    let acks = cpu.0.borrow().timer_acks;
    // Linux has not enabled it: neither delivered nor acknowledged, or it would come for ever.
    assert!(exit(&mut machine, &cpu, Exit::Timer, 0));
    assert_eq!((pending(&cpu), cpu.0.borrow().timer_acks), (Vec::new(), acks));
    enable(&mut machine, &cpu, gic::TIMER);
    assert_eq!(pending(&cpu), [gic::TIMER]);
    assert_eq!(cpu.0.borrow().timer_acks, acks);
    handle(&mut machine, &cpu, gic::TIMER);
    assert_eq!((pending(&cpu), cpu.0.borrow().timer_acks), (Vec::new(), acks + 1));
}

#[test]
fn an_idle_guest_sleeps_until_its_timer() {
    running!(parts, cpu, machine);
    enable(&mut machine, &cpu, gic::TIMER);
    cpu.clone().write(SystemRegister::CntvCtlEl0, 1);
    cpu.clone().write(SystemRegister::CntvCvalEl0, 900);
    cpu.clone().write(SystemRegister::CntvoffEl2, 100);
    let pc = cpu.0.borrow().registers.pc;
    assert!(!wait(&mut machine, &cpu));
    assert_eq!(cpu.0.borrow().registers.pc, pc + 4);
    assert_eq!(machine.settle(999), Some(1000));
    assert!(!cpu.0.borrow().runs);
    assert_eq!(machine.settle(1000), None);
    assert!(cpu.0.borrow().runs);
    assert_eq!(pending(&cpu), [gic::TIMER]);
    // There is something to handle: it does not sleep.
    assert!(wait(&mut machine, &cpu));
    handle(&mut machine, &cpu, gic::TIMER);
    // Masked, or not wanted: only another interrupt wakes it.
    cpu.clone().write(SystemRegister::CntvCtlEl0, 3);
    assert!(!wait(&mut machine, &cpu));
    assert_eq!(machine.settle(u64::MAX), None);
    assert!(!cpu.0.borrow().runs);
    machine.gic.enable_for_test(40);
    machine.gic.set_line(40, true);
    assert_eq!(machine.settle(0), None);
    assert!(cpu.0.borrow().runs);
    assert_eq!(pending(&cpu), [40]);
}

/// The guest of the life before was in the midst of interrupts, in all list registers.
#[test]
fn nothing_of_a_life_before_is_left() {
    running!(parts, cpu, machine);
    let ram = GuestRam::new(&parts.ram, RAM_BASE);
    ram.write(RAM_BASE, b"spoilt").unwrap();
    ram.write(RAM_BASE + (2 << 20), b"a secret of the life before").unwrap();
    for (index, list) in cpu.0.borrow_mut().lists.iter_mut().enumerate() {
        *list = match index {
            0 => List::Pending { intid: 40, priority: 0 },
            _ => List::Active { intid: 40 + index as u16 },
        };
    }
    let mut next = parts.machine_in(&parts.ram, &cpu, false);
    assert!(!cpu.0.borrow().runs, "the guest of the life before still runs");
    prepare(&mut next);
    let begin = wipe_address(&next);
    assert_eq!(cpu.0.borrow().registers.pc, begin);
    assert_eq!(ram.read_u32(begin), Ok(0xd2a1_0020), "movz x0, #0x801, lsl #16");
    assert_eq!(cpu.0.borrow().registers.spsr, EL1H_MASKED);
    // Our program ends the active ones. A timer that was on changes nothing.
    assert!(exit(&mut next, &cpu, Exit::Timer, 0));
    for index in 1..4 {
        cpu.0.borrow_mut().lists[index] = List::Empty;
        assert!(exit(&mut next, &cpu, Exit::Maintenance { index }, 0));
        assert_eq!(cpu.0.borrow().registers.pc, begin);
    }
    exit(&mut next, &cpu, SMC, 0);
    {
        let log = cpu.0.borrow();
        assert!(log.runs);
        assert_eq!((log.registers.pc, log.registers.x[0]), (RAM_BASE, next.layout.tree));
        let idle = |list: &List| matches!(list, List::Pending { intid: 92.., priority: 31 });
        assert!(log.lists.iter().all(idle), "{:?}", log.lists);
    }
    let mut bytes = [0xff; 27];
    ram.read(RAM_BASE + (2 << 20), &mut bytes).unwrap();
    assert_eq!(bytes, [0; 27]);
    assert_eq!(ram.read_u8(RAM_BASE), Ok(0));
    let mut page = [0xff; 4096];
    ram.read(begin, &mut page).unwrap();
    assert_eq!(page, [0; 4096], "our program is left");
    // All list registers can be used.
    for intid in 40..44 {
        enable(&mut next, &cpu, intid);
    }
    gicd(&mut next, &cpu, 0x104, 0xf << 8);
    (40..44).for_each(|intid| next.gic.set_line(intid, true));
    next.settle(0);
    assert_eq!(pending(&cpu), [40, 41, 42, 43]);
    assert!(PRINTED.take().is_empty());
    drop(machine);
}

fn wipe_address(machine: &Machine<'_, Cpu>) -> u64 {
    machine.layout.initramfs.0 - 4096
}

#[test]
fn a_list_register_that_stays_in_use_is_left_alone_and_told() {
    let parts = Parts::new();
    let cpu = Cpu::new();
    cpu.0.borrow_mut().lists[1] = List::Active { intid: 41 };
    let mut machine = parts.machine_in(&parts.ram, &cpu, false);
    start(&mut machine, &cpu);
    assert_eq!(PRINTED.take(), ["1 list registers are lost to an earlier guest"]);
    machine.gic.set_line(42, true);
    enable(&mut machine, &cpu, 42);
    assert_eq!(pending(&cpu), [42]);
    assert_eq!(cpu.0.borrow().lists[1], List::Active { intid: 41 });
}

#[test]
fn a_guest_that_resets_has_ended() {
    running!(parts, cpu, machine);
    assert!(!machine.has_ended());
    assert!(!call(&mut machine, &cpu, 0x8400_0009));
    assert!(machine.has_ended());
    assert_eq!(machine.settle(u64::MAX), None);
    assert!(!cpu.0.borrow().runs);
    assert_eq!(PRINTED.take(), ["the guest has ended: it has reset its machine"]);
}

#[test]
fn a_guest_that_is_off_stays_off() {
    running!(parts, cpu, machine);
    for byte in b"last words" {
        access(&mut machine, &cpu, UART_BASE, Some(u64::from(*byte)));
    }
    assert!(!call(&mut machine, &cpu, 0x8400_0008));
    assert!(machine.has_ended());
    assert_eq!(machine.settle(u64::MAX), None);
    assert!(!cpu.0.borrow().runs);
    let printed = PRINTED.take();
    assert_eq!(printed[0], "guest: last words");
    assert!(printed[1].starts_with("the guest has ended"), "{printed:?}");
    // Whatever still comes.
    assert!(!exit(&mut machine, &cpu, Exit::Timer, 0));
}

#[test]
fn firmware_calls_return_past_their_instruction() {
    running!(parts, cpu, machine);
    let pc = cpu.0.borrow().registers.pc;
    assert!(call(&mut machine, &cpu, 0x8400_0000));
    assert_eq!(cpu.0.borrow().registers.x[0], 0x1_0000);
    assert_eq!(cpu.0.borrow().registers.pc, pc + 4);
    // HVC as the architecture reports it, and as seL4 does.
    cpu.0.borrow_mut().registers.x[0] = 0x8400_0000;
    assert!(exit(&mut machine, &cpu, Exit::Trap { syndrome: 0x16 << 26 }, 0));
    assert_eq!(cpu.0.borrow().registers.pc, pc + 4);
    cpu.0.borrow_mut().registers.x[0] = 0x8400_0000;
    assert!(exit(&mut machine, &cpu, Exit::Call, 0));
    assert_eq!(cpu.0.borrow().registers.pc, pc + 8);
    assert_eq!(cpu.0.borrow().registers.x[0], 0x1_0000);
}

#[test]
fn what_does_not_exist_is_a_fault_of_the_guest() {
    running!(parts, cpu, machine);
    cpu.clone().write(SystemRegister::VbarEl1, 0x10_0000);
    // From EL0, EL0 in AArch32, EL1 with the user's stack, EL1 with its own.
    for (spsr, entry, class) in
        [(0, 0x400, 0x24), (0x10, 0x600, 0x24), (0x4, 0x000, 0x25), (0x5, 0x200, 0x25)]
    {
        let syndrome = 0x24 << 26 | 1 << 24 | 2 << 22;
        for address in [0, 0x0a00_0200, NET_BASE + NET_BYTES - 2, 0x0900_1000, u64::MAX] {
            cpu.0.borrow_mut().registers = Registers { pc: 0x1234, spsr, ..Registers::default() };
            let memory = Exit::Memory { address, fetch: false, syndrome };
            assert!(exit(&mut machine, &cpu, memory, 0));
            let registers = cpu.0.borrow().registers;
            assert_eq!((registers.pc, registers.spsr), (0x10_0000 + entry, EL1H_MASKED));
            assert_eq!(cpu.clone().read(SystemRegister::ElrEl1), 0x1234);
            assert_eq!(cpu.clone().read(SystemRegister::SpsrEl1), spsr);
            let esr = cpu.clone().read(SystemRegister::EsrEl1);
            assert_eq!((esr >> 26, esr & 0x3f), (class, 0x10));
        }
        // An undefined instruction.
        assert!(exit(&mut machine, &cpu, Exit::Trap { syndrome: 0 }, 0));
        assert_eq!(cpu.clone().read(SystemRegister::EsrEl1), 1 << 25);
    }
}

#[test]
fn a_guest_that_leaves_its_memory_ends() {
    running!(parts, cpu, machine);
    let memory = Exit::Memory { address: 0x200, fetch: true, syndrome: 0x20 << 26 };
    assert!(!exit(&mut machine, &cpu, memory, 0));
    assert_eq!(PRINTED.take().len(), 1);
    assert_eq!(machine.settle(0), None);
    assert!(!cpu.0.borrow().runs);
}
