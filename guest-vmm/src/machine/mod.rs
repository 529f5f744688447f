//! The virtual machine: what the processor stops for, interrupt controller, timer, console, boot.
