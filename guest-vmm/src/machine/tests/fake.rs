//! The processor that only remembers.

use alloc::rc::Rc;
use core::cell::RefCell;
use std::collections::BTreeMap;

use resh_channel::memory::Words;

use crate::machine::{InUse, Registers, SystemRegister, Vcpu, gic};

/// What a list register holds (GICH_LRn.State).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum List {
    Empty,
    Pending { intid: u16, priority: u8 },
    Active { intid: u16 },
}

/// What the processor remembers.
pub(in super::super) struct Log {
    pub(in super::super) registers: Registers,
    pub(in super::super) system: BTreeMap<u8, u64>,
    pub(in super::super) lists: [List; gic::LIST_REGISTERS],
    pub(in super::super) timer_acks: u32,
    pub(in super::super) stops: u32,
    pub(in super::super) runs: bool,
    pub(in super::super) cleaned_words: usize,
    pub(in super::super) unified: u32,
}

#[derive(Clone)]
pub(in super::super) struct Cpu(pub(in super::super) Rc<RefCell<Log>>);

impl Cpu {
    pub(in super::super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Log {
            registers: Registers::default(),
            system: BTreeMap::new(),
            lists: [List::Empty; gic::LIST_REGISTERS],
            timer_acks: 0,
            stops: 0,
            runs: true,
            cleaned_words: 0,
            unified: 0,
        })))
    }
}

impl Vcpu for Cpu {
    fn registers(&mut self) -> Registers {
        self.0.borrow().registers
    }

    fn set_registers(&mut self, registers: &Registers) {
        self.0.borrow_mut().registers = *registers;
    }

    fn begin(&mut self, registers: &Registers) {
        self.set_registers(registers);
    }

    fn read(&mut self, register: SystemRegister) -> u64 {
        self.0.borrow().system.get(&(register as u8)).copied().unwrap_or(0)
    }

    fn write(&mut self, register: SystemRegister, value: u64) {
        self.0.borrow_mut().system.insert(register as u8, value);
    }

    fn inject(&mut self, index: usize, intid: u16, priority: u8) -> Result<(), InUse> {
        assert!(priority < 32 && intid < 1020);
        let mut log = self.0.borrow_mut();
        let twice = log.lists.iter().enumerate().any(|(at, list)| {
            let there = match list {
                List::Empty => None,
                List::Pending { intid, .. } | List::Active { intid } => Some(*intid),
            };
            at != index && there == Some(intid)
        });
        assert!(!twice, "interrupt {intid} in two list registers (IHI 0048B, 5.2.2)");
        if matches!(log.lists[index], List::Active { .. }) {
            return Err(InUse);
        }
        log.lists[index] = List::Pending { intid, priority };
        Ok(())
    }

    fn ack_timer(&mut self) {
        self.0.borrow_mut().timer_acks += 1;
    }

    fn stop(&mut self) {
        let mut log = self.0.borrow_mut();
        log.stops += 1;
        log.runs = false;
    }

    fn resume(&mut self) {
        self.0.borrow_mut().runs = true;
    }

    fn clean(&mut self, memory: &Words) {
        self.0.borrow_mut().cleaned_words += memory.len();
    }

    fn unify(&mut self, memory: &Words) {
        assert!(!self.0.borrow().runs && memory.len() <= 512);
        self.0.borrow_mut().unified += 1;
    }
}
