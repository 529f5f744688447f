//! What the build script reads from an SDK's headers.
#![allow(unreachable_pub, missing_docs)]

#[path = "../build/sdk.rs"]
mod sdk;

#[test]
fn explicit_values_and_those_counted_on() {
    let found = sdk::enumerators(
        "typedef enum {\n seL4_SysCall = -1,\n seL4_SysSend = -5,\n} seL4_Syscall_ID;\n\
         enum seL4_Fault_tag { seL4_Fault_NullFault = 0, seL4_Fault_CapFault,\n\
         seL4_Fault_VMFault = 6, seL4_Fault_Next };",
    );
    let expected = [
        ("seL4_Fault_CapFault", 1),
        ("seL4_Fault_Next", 7),
        ("seL4_Fault_NullFault", 0),
        ("seL4_Fault_VMFault", 6),
        ("seL4_SysCall", -1),
        ("seL4_SysSend", -5),
    ];
    assert_eq!(
        found.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn comments_conditions_and_macros_are_passed_over() {
    let found = sdk::enumerators(
        "/* enum { no = 3 } */\nenum reg {\n  /* first */ SCTLR = 0,\n#if defined(X)\n  CPACR,\n\
         #endif /* X */\n  start, // enum { no }\n  TTBR0 = start,\n  TTBR1,\n  FORCE_LONG_ENUM(reg)\n};",
    );
    assert_eq!(found["TTBR0"], 2);
    assert_eq!(found["TTBR1"], 3);
    assert_eq!(found["CPACR"], 1);
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn a_broken_header_gives_nothing() {
    for text in [
        "",
        "enum",
        "enum {",
        "enum }{",
        "enum x; struct {",
        "/* enum { a = 1 }",
        "enum { = 4, 7 }",
    ] {
        let found = sdk::enumerators(text);
        assert!(found.keys().all(|name| name == "7"), "{text}: {found:?}");
    }
}

#[test]
fn names_of_constants() {
    for (name, constant) in [
        ("TCBSuspend", "TCB_SUSPEND"),
        ("ARMVCPUInjectIRQ", "ARMVCPU_INJECT_IRQ"),
        ("NBSendRecv", "NB_SEND_RECV"),
        ("VMFault", "VM_FAULT"),
        ("TPIDR_EL1", "TPIDR_EL1"),
        ("CNTV_CTL", "CNTV_CTL"),
        ("Call", "CALL"),
    ] {
        assert_eq!(sdk::constant_name(name), constant);
    }
}
