//! `rest_firewall`: hosts reach each other as far as rules say so.

use super::*;

#[test]
fn rest_firewall_lets_pass_what_it_is_told_to() {
    let switch = Netns::silent("sw");
    let hosts: Vec<Netns> = (1..=3)
        .map(|number| {
            host(
                &switch,
                &format!("p{number}"),
                &format!("10.0.0.{number}/24"),
            )
        })
        .collect();
    let bridge = bridge("br0", 1, &["p1", "p2", "p3"]);
    let network = Network::start(switch, &bridge, "rest_firewall");
    network.wait("/firewall/module/status", |all| {
        all[0]["status"] == "disable"
    });
    let on = network.change("PUT", &format!("/firewall/module/enable/{ID}"), &json!({}));
    assert_eq!(on[0]["command_result"]["result"], "success", "{on}");
    assert!(
        hosts[0].is_cut_off_from("10.0.0.2"),
        "nothing passes without a rule"
    );

    let rules = format!("/firewall/rules/{ID}");
    for (from, to) in [(1, 2), (2, 1)] {
        let rule = json!({
            "nw_src": format!("10.0.0.{from}/32"), "nw_dst": format!("10.0.0.{to}/32"),
            "nw_proto": "ICMP",
        });
        network.post(&rules, &rule);
    }
    reaches(&hosts[0], "10.0.0.2");
    assert!(
        hosts[0].is_cut_off_from("10.0.0.3"),
        "nobody spoke of host 3"
    );

    let deny = json!({
        "nw_src": "10.0.0.1/32", "nw_dst": "10.0.0.2/32", "nw_proto": "ICMP",
        "actions": "DENY", "priority": "10",
    });
    let denied = network.post(&rules, &deny);
    reaches_no_longer(&hosts[0], "10.0.0.2");
    let details = denied[0]["command_result"][0]["details"].as_str();
    let number = details.and_then(|text| text.rsplit('=').next());
    let number = number.unwrap_or_else(|| panic!("{denied}"));
    network.change("DELETE", &rules, &json!({ "rule_id": number }));
    reaches(&hosts[0], "10.0.0.2");
    network.daemon.stop();
}

/// The switch as the application names it.
const ID: &str = "0000000000000001";
