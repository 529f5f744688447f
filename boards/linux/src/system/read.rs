//! From elements to the model: every element by itself, and what it refers to.

use roxmltree::Node;

use super::model::{
    Domain, DomainIndex, Irq, Map, Region, Rights, SetValue, SetVar, System, Trigger,
    VirtualMachine,
};
use super::xml::Xml;
use super::{ID_MAX, PAGE_BYTES, PRIORITY_MAX};
use super::{channels, check};
use crate::diagnostic::suggest;

const BUDGET_US: u64 = 1000;
const STACK_BYTES: u64 = 0x2000;
const STACK_BYTES_MIN: u64 = 0x1000;
const STACK_BYTES_MAX: u64 = 16 << 20;

/// Reads the whole description. What is wrong is in `xml` afterwards.
pub(super) fn system<'a>(xml: &mut Xml<'a>, root: Node<'a, 'a>) -> System {
    let mut system = System { file: xml.file.clone(), regions: Vec::new(), domains: Vec::new() };
    if root.tag_name().name() != "system" {
        xml.report(root, "", "is not a system description", "begin with <system>");
        return system;
    }
    xml.only_attributes(root, &[]);
    let elements = xml.elements(root, &["memory_region", "protection_domain", "channel"]);
    let named = |name: &'static str| {
        elements.iter().copied().filter(move |node| node.tag_name().name() == name)
    };
    for node in named("memory_region") {
        let region = region(xml, node);
        if system.regions.iter().any(|other| !region.name.is_empty() && other.name == region.name) {
            let problem = format!("a second region {:?}", region.name);
            xml.report(node, "name", problem, "give each region a name of its own");
        }
        system.regions.push(region);
    }
    for node in named("protection_domain") {
        domain(xml, node, None, &mut system);
    }
    for node in named("channel") {
        channels::channel(xml, node, &mut system);
    }
    check::check(xml, root, &system);
    system
}

fn region<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>) -> Region {
    xml.elements(node, &[]);
    xml.only_attributes(
        node,
        &["name", "size", "page_size", "phys_addr", "prefill_path", "prefill_bootinfo"],
    );
    let name = xml.required(node, "name").unwrap_or_default().to_owned();
    let mut page_bytes = xml.number(node, "page_size").unwrap_or(PAGE_BYTES[0]);
    if !PAGE_BYTES.contains(&page_bytes) {
        let problem = format!("there are no pages of {page_bytes:#x} bytes");
        xml.report(node, "page_size", problem, "use 0x1000 or 0x200000, or leave it out");
        page_bytes = PAGE_BYTES[0];
    }
    if node.has_attribute("prefill_bootinfo") {
        let hint = "leave it out: nothing in RESH needs the boot information";
        xml.report(node, "prefill_bootinfo", "is not supported", hint);
    }
    if node.attribute("prefill_path") == Some("") {
        xml.report(node, "prefill_path", "is empty", "name a file, or leave it out");
    }
    let prefill_path = node.attribute("prefill_path").map(str::to_owned);
    if prefill_path.is_none() && !node.has_attribute("size") {
        let hint = "add size=\"0x1000\" or another multiple of the page size";
        xml.report(node, "size", "attribute is missing", hint);
    }
    let bytes = xml.number(node, "size");
    if bytes == Some(0) {
        xml.report(node, "size", "the region is empty", "give it at least one page, 0x1000 bytes");
    }
    let bytes = bytes.unwrap_or(0);
    demand_aligned(xml, node, "size", bytes, page_bytes);
    let phys_addr = xml.number(node, "phys_addr");
    demand_aligned(xml, node, "phys_addr", phys_addr.unwrap_or(0), page_bytes);
    if phys_addr.is_some_and(|start| start.checked_add(bytes).is_none()) {
        let hint = "choose a lower address or a smaller size";
        xml.report(node, "phys_addr", "the region reaches beyond 2^64", hint);
    }
    let position = xml.position(node);
    Region { name, bytes, page_bytes, phys_addr, prefill_path, position }
}

/// Reports `value` if it is no multiple of `unit`, with the multiples next to it.
pub(super) fn demand_aligned(
    xml: &mut Xml<'_>,
    node: Node<'_, '_>,
    name: &str,
    value: u64,
    unit: u64,
) {
    if !value.is_multiple_of(unit) {
        let below = value - value % unit;
        let problem = format!("{value:#x} is not a multiple of the page size, {unit:#x}");
        let hint = match below.checked_add(unit) {
            Some(above) => format!("use {below:#x} or {above:#x}"),
            None => format!("use {below:#x}"),
        };
        xml.report(node, name, problem, hint);
    }
}

fn domain<'a>(
    xml: &mut Xml<'a>,
    node: Node<'a, 'a>,
    parent: Option<DomainIndex>,
    system: &mut System,
) {
    let mut attributes =
        vec!["name", "priority", "budget", "period", "passive", "stack_size", "smc", "cpu", "fpu"];
    if parent.is_some() {
        attributes.extend(["id", "setvar_id"]);
    }
    xml.only_attributes(node, &attributes);
    let name = xml.required(node, "name").unwrap_or_default().to_owned();
    let child_id = parent.and_then(|parent| child_id(xml, node, &mut system.domains[parent]));
    let (budget_us, period_us) = budget_and_period(xml, node);
    let priority = priority(xml, node);
    xml.boolean(node, "fpu", true);
    if xml.number(node, "cpu").is_some_and(|cpu| cpu > u64::from(u8::MAX)) {
        xml.report(node, "cpu", "no board has so many cores", "use 0, or leave it out");
    }
    let stack_bytes = xml.number(node, "stack_size").unwrap_or(STACK_BYTES);
    if !(STACK_BYTES_MIN..=STACK_BYTES_MAX).contains(&stack_bytes) {
        let problem = format!("a stack of {stack_bytes:#x} bytes");
        xml.report(node, "stack_size", problem, "use 0x1000 to 0x1000000 bytes");
    }
    demand_aligned(xml, node, "stack_size", stack_bytes, PAGE_BYTES[0]);

    let at = system.domains.len();
    system.domains.push(Domain {
        name,
        priority,
        budget_us,
        period_us,
        passive: xml.boolean(node, "passive", false),
        calls_firmware: xml.boolean(node, "smc", false),
        stack_bytes: stack_bytes.min(STACK_BYTES_MAX),
        parent,
        child_id,
        program: String::new(),
        maps: Vec::new(),
        irqs: Vec::new(),
        setvars: Vec::new(),
        vm: None,
        channels: Vec::new(),
        position: xml.position(node),
    });
    let known = ["program_image", "map", "irq", "setvar", "protection_domain", "virtual_machine"];
    let mut programs = 0;
    let mut machines = 0;
    for child in xml.elements(node, &known) {
        match child.tag_name().name() {
            "program_image" => {
                programs += 1;
                xml.elements(child, &[]);
                xml.only_attributes(child, &["path", "path_for_symbols"]);
                system.domains[at].program = xml.required(child, "path").unwrap_or_default().into();
                if programs == 2 {
                    let hint = "leave one: a domain runs one program";
                    xml.report(child, "", "a second program", hint);
                }
            }
            "map" => domain_map(xml, child, system, at),
            "irq" => irq(xml, child, &mut system.domains[at]),
            "setvar" => setvar(xml, child, system, at),
            "virtual_machine" => {
                machines += 1;
                if machines == 2 {
                    let hint = "leave one: a domain hosts at most one virtual machine";
                    xml.report(child, "", "a second virtual machine", hint);
                }
                let vm = virtual_machine(xml, child, system);
                system.domains[at].vm = Some(vm);
            }
            _ => domain(xml, child, Some(at), system),
        }
    }
    if programs == 0 {
        let problem = format!("domain {:?} has no program", system.domains[at].name);
        xml.report(node, "", problem, "add <program_image path=\"….elf\" />");
    }
}

/// The id of a child domain. Where its parent wants it in a symbol, it is added there.
fn child_id<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, parent: &mut Domain) -> Option<u8> {
    xml.required(node, "id")?;
    let id = xml.number(node, "id")?;
    if id > u64::from(ID_MAX) {
        xml.report(node, "id", format!("{id} is not an id"), format!("use 0 to {ID_MAX}"));
        return None;
    }
    set(xml, node, "setvar_id", &mut parent.setvars, SetValue::Number(id));
    u8::try_from(id).ok()
}

fn priority(xml: &mut Xml<'_>, node: Node<'_, '_>) -> u8 {
    let priority = xml.number(node, "priority").unwrap_or(0);
    u8::try_from(priority).ok().filter(|priority| *priority <= PRIORITY_MAX).unwrap_or_else(|| {
        let hint = format!("use 0 to {PRIORITY_MAX}");
        xml.report(node, "priority", format!("{priority} is not a priority"), hint);
        PRIORITY_MAX
    })
}

fn budget_and_period(xml: &mut Xml<'_>, node: Node<'_, '_>) -> (u64, u64) {
    let budget = xml.number(node, "budget").unwrap_or(BUDGET_US);
    let period = xml.number(node, "period").unwrap_or(budget);
    if budget == 0 || budget > period {
        let problem = format!("a budget of {budget} µs in a period of {period} µs");
        let hint = "use a budget of at least 1 µs and a period that is not shorter";
        xml.report(node, "budget", problem, hint);
    }
    (budget, period)
}

/// If `node` has the attribute, the symbol it names is to be set to `value`.
pub(super) fn set(
    xml: &mut Xml<'_>,
    node: Node<'_, '_>,
    attribute: &str,
    setvars: &mut Vec<SetVar>,
    value: SetValue,
) {
    let Some(symbol) = node.attribute(attribute) else { return };
    let valid = !symbol.is_empty() && symbol.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid || symbol.starts_with(|c: char| c.is_ascii_digit()) {
        let hint = "use letters, digits and _, no digit first";
        xml.report(node, attribute, format!("{symbol:?} is not a symbol"), hint);
    } else if setvars.iter().any(|other| other.symbol == symbol) {
        let problem = format!("the symbol {symbol:?} of this domain is set twice");
        xml.report(node, attribute, problem, "use each symbol of a program once");
    } else {
        let position = xml.position(node);
        setvars.push(SetVar { symbol: symbol.to_owned(), value, position });
    }
}

fn domain_map<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, system: &mut System, at: DomainIndex) {
    let set_attributes = ["setvar_vaddr", "setvar_size", "setvar_prefill_size"];
    let Some(mut map) = map(xml, node, system, &set_attributes) else { return };
    map.symbol = node.attribute("setvar_vaddr").map(str::to_owned);
    let region = &system.regions[map.region];
    if node.has_attribute("setvar_prefill_size") && region.prefill_path.is_none() {
        let problem = format!("region {:?} is not filled from a file", region.name);
        let hint = "give the region a prefill_path, or use setvar_size";
        xml.report(node, "setvar_prefill_size", problem, hint);
    }
    let setvars = &mut system.domains[at].setvars;
    set(xml, node, "setvar_vaddr", setvars, SetValue::Number(map.vaddr));
    set(xml, node, "setvar_size", setvars, SetValue::RegionBytes(map.region));
    set(xml, node, "setvar_prefill_size", setvars, SetValue::PrefillBytes(map.region));
    system.domains[at].maps.push(map);
}

fn map<'a>(
    xml: &mut Xml<'a>,
    node: Node<'a, 'a>,
    system: &System,
    set_attributes: &[&str],
) -> Option<Map> {
    xml.elements(node, &[]);
    let attributes = [&["mr", "vaddr", "perms", "cached"], set_attributes].concat();
    xml.only_attributes(node, &attributes);
    let rights = rights(xml, node);
    let cached = xml.boolean(node, "cached", true);
    let name = xml.required(node, "mr");
    let has_vaddr = xml.required(node, "vaddr").is_some();
    let vaddr = xml.number(node, "vaddr").filter(|_| has_vaddr);
    let name = name?;
    let Some(region) = system.regions.iter().position(|region| region.name == name) else {
        let known: Vec<_> = system.regions.iter().map(|region| region.name.as_str()).collect();
        xml.report(node, "mr", format!("there is no region {name:?}"), suggest(name, &known));
        return None;
    };
    let vaddr = vaddr?;
    demand_aligned(xml, node, "vaddr", vaddr, system.regions[region].page_bytes);
    Some(Map { region, vaddr, rights, cached, symbol: None, position: xml.position(node) })
}

fn rights(xml: &mut Xml<'_>, node: Node<'_, '_>) -> Rights {
    let spelled = node.attribute("perms").unwrap_or("rw");
    let mut letters: Vec<_> = spelled.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let known = letters.iter().all(|letter| "rwx".contains(*letter));
    if !known || letters.is_empty() || letters.len() < spelled.chars().count() {
        let problem = format!("{spelled:?} is not a set of rights");
        let hint = "use each of r, w and x at most once, such as \"r\" or \"rw\"";
        xml.report(node, "perms", problem, hint);
    } else if letters == ['w'] {
        let hint = "use \"rw\", or \"r\"";
        xml.report(node, "perms", "memory cannot be write-only", hint);
    }
    let has = |letter| letters.contains(&letter);
    Rights { read: has('r'), write: has('w'), execute: has('x') }
}

fn irq<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, domain: &mut Domain) {
    xml.elements(node, &[]);
    for other in ["pin", "pcidev"] {
        if node.has_attribute(other) {
            let hint = "use irq=\"…\": this form is for x86-64 only";
            xml.report(node, other, "unknown attribute", hint);
            return;
        }
    }
    xml.only_attributes(node, &["irq", "id", "setvar_id", "trigger"]);
    let trigger = match node.attribute("trigger") {
        None | Some("level") => Trigger::Level,
        Some("edge") => Trigger::Edge,
        Some(other) => {
            let hint = "write \"level\" or \"edge\"";
            xml.report(node, "trigger", format!("{other:?} is not a kind of trigger"), hint);
            Trigger::Level
        }
    };
    let both = (xml.required(node, "irq"), xml.required(node, "id"));
    let irq = xml.decimal(node, "irq", u64::from(u32::MAX));
    let id = xml.decimal(node, "id", u64::from(ID_MAX));
    let ((Some(_), Some(_)), Some(irq), Some(id)) = (both, irq, id) else { return };
    set(xml, node, "setvar_id", &mut domain.setvars, SetValue::Number(id));
    if let (Ok(irq), Ok(id)) = (u32::try_from(irq), u8::try_from(id)) {
        domain.irqs.push(Irq { id, irq, trigger, position: xml.position(node) });
    }
}

fn setvar<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, system: &mut System, at: DomainIndex) {
    xml.elements(node, &[]);
    xml.only_attributes(node, &["symbol", "region_paddr"]);
    xml.required(node, "symbol");
    let Some(name) = xml.required(node, "region_paddr") else { return };
    match system.regions.iter().position(|region| region.name == name) {
        Some(region) => {
            let value = SetValue::RegionPhysAddr(region);
            set(xml, node, "symbol", &mut system.domains[at].setvars, value);
        }
        None => {
            let known: Vec<_> = system.regions.iter().map(|r| r.name.as_str()).collect();
            let problem = format!("there is no region {name:?}");
            xml.report(node, "region_paddr", problem, suggest(name, &known));
        }
    }
}

fn virtual_machine<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, system: &System) -> VirtualMachine {
    xml.only_attributes(node, &["name", "budget", "period", "priority"]);
    let (budget_us, period_us) = budget_and_period(xml, node);
    let mut vm = VirtualMachine {
        name: xml.required(node, "name").unwrap_or_default().to_owned(),
        priority: priority(xml, node),
        budget_us,
        period_us,
        vcpus: Vec::new(),
        maps: Vec::new(),
        position: xml.position(node),
    };
    for child in xml.elements(node, &["vcpu", "map"]) {
        if child.tag_name().name() == "map" {
            vm.maps.extend(map(xml, child, system, &[]));
            continue;
        }
        xml.elements(child, &[]);
        // Microkit 2.3.0 lists setvar_id for a vcpu, and then does not set it.
        xml.only_attributes(child, &["id", "cpu"]);
        xml.decimal(child, "cpu", u64::from(u8::MAX));
        xml.required(child, "id");
        let id = xml.decimal(child, "id", u64::from(ID_MAX));
        let Some(id) = id.and_then(|id| u8::try_from(id).ok()) else { continue };
        if vm.vcpus.contains(&id) {
            let hint = "give each virtual CPU of the machine an id of its own";
            xml.report(child, "id", format!("a second virtual CPU {id}"), hint);
        }
        vm.vcpus.push(id);
    }
    if vm.vcpus.is_empty() {
        xml.report(node, "", "has no virtual CPU", "add <vcpu id=\"0\" />");
    }
    vm
}
