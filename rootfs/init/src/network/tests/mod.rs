//! The planner against a kernel made of values.

mod planning;
mod speaking;
mod world;

use super::{FIRST_RETRY, LAST_RETRY, SHORTEST_GAP, gap};

/// The pause before the next try is that of the first until a look has failed, and doubles with each.
#[test]
fn news_of_a_change_that_is_refused_again_and_again_wait_for_their_turn() {
    assert_eq!([FIRST_RETRY, FIRST_RETRY * 2].map(gap), [SHORTEST_GAP; 2]);
    assert_eq!([FIRST_RETRY * 4, LAST_RETRY].map(gap), [FIRST_RETRY; 2]);
}
