//! The channels: two ends each, once all domains are known.

use roxmltree::Node;

use super::ID_MAX;
use super::model::{ChannelEnd, DomainIndex, SetValue, System};
use super::read::set;
use super::xml::Xml;
use crate::diagnostic::suggest;

/// Reads one channel and gives each of the two domains its end.
pub(super) fn channel<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, system: &mut System) {
    xml.only_attributes(node, &[]);
    let nodes = xml.elements(node, &["end"]);
    let mut ends = Vec::new();
    for end in &nodes {
        ends.extend(channel_end(xml, *end, system));
    }
    if nodes.len() != 2 {
        let problem = format!("a channel with {} ends", nodes.len());
        xml.report(node, "", problem, "give it exactly two <end> elements");
    }
    let (&[node_a, node_b], &[(domain_a, end_a), (domain_b, end_b)]) = (&nodes[..], &ends[..])
    else {
        return;
    };
    if domain_a == domain_b {
        let problem = format!("both ends are in {:?}", system.domains[domain_a].name);
        xml.report(node_b, "pd", problem, "name the other domain");
        return;
    }
    if end_a.may_call && end_b.may_call {
        let hint = "leave pp=\"true\" at one end, in the domain of lower priority";
        xml.report(node_b, "pp", "both ends may call the other", hint);
    }
    for (node, end, from, to) in
        [(node_a, end_a, domain_a, domain_b), (node_b, end_b, domain_b, domain_a)]
    {
        let (from, to) = (&system.domains[from], &system.domains[to]);
        if end.may_call && from.priority >= to.priority {
            let problem = format!(
                "{:?} (priority {}) may call {:?} (priority {})",
                from.name, from.priority, to.name, to.priority
            );
            let hint = "a call goes to a strictly higher priority only: change one of them";
            xml.report(node, "pp", problem, hint);
        }
    }
    for (node, domain, end, peer_domain, peer) in
        [(node_a, domain_a, end_a, domain_b, end_b), (node_b, domain_b, end_b, domain_a, end_a)]
    {
        let domain = &mut system.domains[domain];
        set(xml, node, "setvar_id", &mut domain.setvars, SetValue::Number(end.id.into()));
        domain.channels.push(ChannelEnd { peer_domain, peer_id: peer.id, ..end });
    }
}

/// One end, and its domain. The peer is not known yet.
fn channel_end<'a>(
    xml: &mut Xml<'a>,
    node: Node<'a, 'a>,
    system: &System,
) -> Option<(DomainIndex, ChannelEnd)> {
    xml.elements(node, &[]);
    xml.only_attributes(node, &["pd", "id", "pp", "notify", "setvar_id"]);
    let may_notify = xml.boolean(node, "notify", true);
    let may_call = xml.boolean(node, "pp", false);
    xml.required(node, "id");
    let id = xml.decimal(node, "id", u64::from(ID_MAX));
    let name = xml.required(node, "pd")?;
    let Some(domain) = system.domain_index(name) else {
        let known: Vec<_> = system.domains.iter().map(|domain| domain.name.as_str()).collect();
        xml.report(node, "pd", format!("there is no domain {name:?}"), suggest(name, &known));
        return None;
    };
    let id = u8::try_from(id?).ok()?;
    let position = xml.position(node);
    let end = ChannelEnd { id, peer_domain: domain, peer_id: 0, may_notify, may_call, position };
    Some((domain, end))
}
