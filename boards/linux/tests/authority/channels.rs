//! Who may notify whom.

use crate::connected;
use crate::description::wrong;

#[test]
fn channel_between_gateways() {
    connected(
        "gateway_0",
        "gateway_1",
        &["\"gateway_0\" has a channel to \"gateway_1\"", "remove this"],
    );
}

#[test]
fn channel_from_a_gateway_to_the_network() {
    connected("gateway_0", "network", &["\"gateway_0\" has a channel to \"network\""]);
}

#[test]
fn channel_from_a_gateway_to_its_supervisor() {
    connected("gateway_0", "supervisor", &["\"gateway_0\" has a channel to \"supervisor\""]);
}

#[test]
fn monitor_has_a_channel() {
    connected("resh_monitor", "voter", &["\"resh_monitor\" has a channel to \"voter\"", "remove"]);
}

#[test]
fn second_channel_to_the_voter() {
    let channel = "<channel><end pd=\"gateway_0\" id=\"40\" /><end pd=\"voter\" id=\"41\" /></channel></system>";
    let words = ["\"gateway_0\" has a second channel to \"voter\""];
    wrong("</channel>\n</system>", "</system>", channel, 0, "<end pd>", &words);
}

#[test]
fn gateway_calls_the_voter() {
    wrong(
        "<channel>",
        "<end pd=\"gateway_0\" id=\"0\"",
        "<end pd=\"gateway_0\" id=\"0\" pp=\"true\"",
        0,
        "<end pp>",
        &["\"gateway_0\" may call \"voter\"", "remove pp"],
    );
}

#[test]
fn channels_of_two_gateways_exchanged() {
    wrong(
        "<channel>",
        "<end pd=\"voter\" id=\"2\"",
        "<end pd=\"voter\" id=\"7\"",
        0,
        "<end id>",
        &["\"gateway_0\" has the ids 7 and 0", "id=\"2\""],
    );
}

#[test]
fn channels_to_the_timer_exchanged() {
    wrong(
        "<channel>",
        "<end pd=\"timer\" id=\"1\"",
        "<end pd=\"timer\" id=\"9\"",
        0,
        "<end id>",
        &["between \"timer\" and \"voter\" has the ids 9 and 61", "<end pd=\"timer\" id=\"1\" />"],
    );
}

#[test]
fn channel_that_cannot_notify() {
    wrong(
        "<channel>",
        "<end pd=\"gateway_0\" id=\"0\"",
        "<end pd=\"gateway_0\" id=\"0\" notify=\"false\"",
        0,
        "<end notify>",
        &["\"gateway_0\" may not notify \"voter\"", "notify=\"true\""],
    );
}
