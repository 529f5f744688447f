//! Small changes to a system description, as text, so that all else in it stays as it is.

use std::ops::Range;

use roxmltree::{Attribute, Document, Node};

/// Gives `domain` another program. A program that does without some of the regions has no symbols for
/// them, which the Microkit tool would not accept: so `has_symbol` is asked for each that would be set.
///
/// # Errors
/// If there is no such domain, or the text is no XML.
pub(super) fn replace_program(
    xml: &str,
    domain: &str,
    program: &str,
    has_symbol: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let document = parse(xml)?;
    let node = named(&document, "protection_domain", domain)
        .ok_or_else(|| format!("there is no domain {domain} to replace the program of"))?;
    let mut edits = Vec::new();
    for element in node.descendants().filter(|element| host(*element) == Some(node)) {
        if element.has_tag_name("program_image") {
            edits.extend(attribute(element, "path").map(|a| (a.range_value(), program.to_owned())));
        }
        for attribute in element.attributes() {
            if attribute.name().starts_with("setvar_") && !has_symbol(attribute.value()) {
                edits.push((attribute.range(), String::new()));
            }
        }
    }
    Ok(apply(xml, edits))
}

/// Lets everybody who maps region `duplicate` map `kept` in its place, and drops `duplicate`.
///
/// # Errors
/// If there is no such region, or the text is no XML.
pub(super) fn share_region(xml: &str, duplicate: &str, kept: &str) -> Result<String, String> {
    let document = parse(xml)?;
    let region = named(&document, "memory_region", duplicate)
        .ok_or_else(|| format!("there is no region {duplicate}"))?;
    let maps = document.descendants().filter(|node| node.has_tag_name("map"));
    let mut edits: Vec<_> = maps
        .filter_map(|map| attribute(map, "mr"))
        .filter(|mr| mr.value() == duplicate)
        .map(|mr| (mr.range_value(), kept.to_owned()))
        .collect();
    edits.push((region.range(), String::new()));
    Ok(apply(xml, edits))
}

fn parse(xml: &str) -> Result<Document<'_>, String> {
    Document::parse(xml).map_err(|error| format!("the system description: {error}"))
}

fn named<'a>(document: &'a Document<'a>, element: &str, name: &str) -> Option<Node<'a, 'a>> {
    document
        .descendants()
        .find(|node| node.has_tag_name(element) && node.attribute("name") == Some(name))
}

fn attribute<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Attribute<'a, 'i>> {
    node.attributes().find(|attribute| attribute.name() == name)
}

/// The domain an element is in, not counting the domain's own element.
fn host<'a, 'i>(node: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    node.ancestors().skip(1).find(|ancestor| ancestor.has_tag_name("protection_domain"))
}

/// Replaces each range by its text. The ranges do not overlap.
fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = text.to_owned();
    for (range, replacement) in edits.into_iter().rev() {
        out.replace_range(range, &replacement);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{replace_program, share_region};

    const XML: &str = r#"<system>
  <memory_region name="a" size="0x1000" />
  <memory_region name="b" size="0x1000" />
  <protection_domain name="outer">
    <program_image path="outer.elf" />
    <map mr="a" vaddr="0x1000" perms="r" setvar_vaddr="x" setvar_size="x_size" />
    <protection_domain name="inner" id="0">
      <program_image path="inner.elf" />
      <map mr="b" vaddr="0x1000" perms="r" setvar_vaddr="x" setvar_size="x_size" />
    </protection_domain>
  </protection_domain>
</system>"#;

    #[test]
    fn a_program_is_replaced_in_its_domain_only() {
        let edited = replace_program(XML, "outer", "other.elf", |s| s == "x").expect("edited");
        assert!(edited.contains(r#"<program_image path="other.elf" />"#));
        assert!(edited.contains(r#"<program_image path="inner.elf" />"#));
        assert!(edited.contains(r#"<map mr="a" vaddr="0x1000" perms="r" setvar_vaddr="x"  />"#));
        assert!(edited.contains(r#"setvar_vaddr="x" setvar_size="x_size" />"#));
        assert!(replace_program(XML, "none", "other.elf", |_| true).is_err());
    }

    #[test]
    fn what_maps_a_duplicate_maps_the_kept_one() {
        let edited = share_region(XML, "b", "a").expect("edited");
        assert!(!edited.contains(r#"name="b""#) && !edited.contains(r#"mr="b""#));
        assert_eq!(edited.matches(r#"mr="a""#).count(), 2);
        assert!(share_region(XML, "c", "a").is_err());
    }
}
