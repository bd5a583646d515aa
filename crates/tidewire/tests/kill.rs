//! `tidewire subscribe` keeps every event once and in order while the hub is killed over and over.

use tidewire_harness::{Campaign, SubscribeCommand};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

#[test]
fn every_number_once_and_in_order_over_kills() {
    let campaign = Campaign::of_ten_thousand("kill");
    campaign.run(BINARY, |hub, clock, numbers| SubscribeCommand::start(BINARY, &hub.url(), clock, numbers));
}
