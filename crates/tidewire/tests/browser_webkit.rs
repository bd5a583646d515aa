//! WebKit keeps every event once and in order while the hub is killed over and over.

use tidewire_harness::Campaign;
use tidewire_harness::browser::{Browser, Kind, Page};

#[test]
fn every_number_once_and_in_order_over_kills() {
    let campaign = Campaign::of_ten_thousand("browser_webkit");
    campaign.run(env!("CARGO_BIN_EXE_tidewire"), |hub, clock, numbers| {
        Page::open(Browser::start(Kind::WebKit), &hub.url(), clock, numbers)
    });
}
