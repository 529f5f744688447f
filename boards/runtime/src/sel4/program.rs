//! What a bin needs to be a domain's program: entry, symbols, panic handler, allocator.

use core::fmt::Display;

use super::symbols::Symbols;
use super::{event_loop, symbols};
use crate::Handler;

/// Makes a bin the program of a protection domain.
///
/// ```text
/// #![cfg_attr(target_os = "none", no_std, no_main)]
///
/// sel4_microkit::program! {
///     regions: [config, n2v_ring, n2v_cursor],
///     variables: [nic_dma_paddr],
///     start: pd_network::domain::start
/// }
/// ```
///
/// `regions` and `variables` are the symbols that the system description sets (`setvar_vaddr`, with
/// `setvar_size` or `setvar_prefill_size` to the same name with `_size` after it; `setvar` and
/// `setvar_region_paddr`). The runtime's own regions (`heap`, `log`, `deadline`, `clock`) are always
/// there. A region that the description does not grant costs nothing.
///
/// `start` is a `fn() -> Result<impl Handler, impl Display>`. It may allocate; its handler may not.
/// On anything but seL4 the bin says so and fails, so that the workspace builds and is checked anywhere.
#[macro_export]
macro_rules! program {
    (
        regions: [$($region:ident),* $(,)?],
        $(variables: [$($variable:ident),* $(,)?],)?
        start: $start:expr $(,)?
    ) => {
        #[cfg(target_os = "none")]
        mod resh_program {
            use core::sync::atomic::AtomicU8;

            use $crate::sel4::{Patched, Region, Symbols, Variable, heap};

            // They are read-only, so that no life of the domain can leave the next one others. (Not even zeros
            // go to .bss, which is not in the image.)
            macro_rules! patched {
                ($symbol:expr, $kind:ty, $value:expr) => {{
                    #[used]
                    #[unsafe(export_name = $symbol)]
                    #[unsafe(link_section = ".rodata.patched")]
                    static SYMBOL: Patched<$kind> = Patched::new($value);
                    &SYMBOL
                }};
            }
            macro_rules! region {
                ($name:expr) => {
                    Region::new(
                        $name,
                        patched!($name, u64, 0),
                        patched!(concat!($name, "_size"), u64, 0),
                        {
                            static USED: AtomicU8 = AtomicU8::new(0);
                            &USED
                        },
                    )
                };
            }

            static RUNTIME: [Region; 4] =
                [region!("heap"), region!("log"), region!("deadline"), region!("clock")];
            const NAMES: &[&str] = &[$(stringify!($region)),*];
            static REGIONS: [Region; NAMES.len()] = [$(region!(stringify!($region))),*];
            static VARIABLES: &[Variable] = &[$($(Variable::new(
                stringify!($variable),
                patched!(stringify!($variable), u64, 0),
            )),*)?];
            static SYMBOLS: Symbols = Symbols {
                regions: [&REGIONS, &RUNTIME],
                variables: VARIABLES,
                name: patched!("microkit_name", [u8; 64], [0; 64]),
                passive: patched!("microkit_passive", bool, false),
                irqs: patched!("microkit_irqs", u64, 0),
                notifications: patched!("microkit_notifications", u64, 0),
            };
            // The tool wants these too; this runtime calls nobody and has no ports.
            static _UNUSED: [&Patched; 2] =
                [patched!("microkit_pps", u64, 0), patched!("microkit_ioports", u64, 0)];

            #[global_allocator]
            static HEAP: heap::Heap = heap::Heap::new();

            #[panic_handler]
            fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
                $crate::sel4::program::panicked(info)
            }

            extern "C" fn main() -> ! {
                $crate::sel4::program::run(&SYMBOLS, super::resh_start, || HEAP.seal())
            }

            // The stack is the one the tool, or the parent, has set up. No frame is above the first. What an
            // earlier life of this domain wrote is cleared: it is all in .bss (`docs/runtime.md`).
            core::arch::global_asm!(
                ".section .text._start, \"ax\"",
                ".global _start",
                ".type _start, %function",
                "_start:",
                "msr fpcr, xzr",
                "msr fpsr, xzr",
                "adrp x0, __bss_start",
                "add x0, x0, :lo12:__bss_start",
                "adrp x1, _end",
                "add x1, x1, :lo12:_end",
                "0:",
                "cmp x0, x1",
                "b.hs 1f",
                "strb wzr, [x0], #1",
                "b 0b",
                "1:",
                "mov x29, xzr",
                "mov x30, xzr",
                "b {main}",
                main = sym main,
            );
        }

        fn resh_start()
        -> Result<impl $crate::Handler, impl core::fmt::Display> {
            $start()
        }

        #[cfg(not(target_os = "none"))]
        fn main() -> std::process::ExitCode {
            let _ = resh_start;
            eprintln!("this is the program of a protection domain: it runs on seL4 only");
            std::process::ExitCode::FAILURE
        }
    };
}

/// Runs a program.
pub fn run<H: Handler, E: Display>(
    symbols: &'static Symbols,
    start: fn() -> Result<H, E>,
    seal: fn(),
) -> ! {
    symbols::install(symbols);
    let handler = match start() {
        Ok(handler) => handler,
        Err(error) => end(format_args!("cannot start: {error}")),
    };
    seal();
    match event_loop::run(handler) {
        Ok(never) => match never {},
        Err(error) => end(format_args!("ended: {error}")),
    }
}

/// What a program does that panics: says so, and stops.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => end(format_args!("panicked at {place}: {}", info.message())),
        None => end(format_args!("panicked: {}", info.message())),
    }
}

fn end(line: core::fmt::Arguments<'_>) -> ! {
    super::print::debug_print(line);
    stop_here()
}

/// Stops this domain by a fault, which its parent, or Microkit's monitor, hears of.
pub(crate) fn stop_here() -> ! {
    #[cfg(target_os = "none")]
    // SAFETY: the instruction is undefined for ever (ARM ARM, C6.2 UDF): the kernel stops the thread.
    unsafe {
        core::arch::asm!("udf #0", options(noreturn, nostack))
    }
    #[cfg(not(target_os = "none"))]
    panic!("a domain stopped");
}
