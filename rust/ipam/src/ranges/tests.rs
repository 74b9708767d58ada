use super::Ranges;
use std::collections::BTreeSet;

#[test]
fn ranges_that_overlap_or_touch_become_one() {
    let ranges = Ranges::union(vec![(20, 29), (0, 3), (4, 9), (25, 40), (50, 50), (22, 23)]);
    assert_eq!(ranges.as_slice(), [(0, 9), (20, 40), (50, 50)]);
    assert_eq!(ranges.size(), 10 + 21 + 1);
}

#[test]
fn what_is_taken_out_of_ranges_splits_shortens_or_removes_them() {
    let ranges = Ranges::union(vec![(5, 9), (20, 29), (40, 40)]);
    let left = ranges.without(&BTreeSet::from([1, 5, 22, 23, 25, 29, 30, 40]));
    assert_eq!(left.as_slice(), [(6, 9), (20, 21), (24, 24), (26, 28)]);
    assert_eq!(left.size(), 4 + 2 + 1 + 3);
    assert_eq!(ranges.without(&BTreeSet::new()), ranges);
}

#[test]
fn a_sweep_sees_each_range_as_far_as_it_reaches() {
    let ranges = Ranges::union(vec![(5, 9), (20, 29)]);
    let between = |from, until| ranges.between(from, until).collect::<Vec<_>>();
    assert_eq!(between(7, 100), [(7, 9), (20, 29)]);
    assert_eq!(between(0, 21), [(5, 9), (20, 20)]);
    assert_eq!(between(10, 20), []);
    assert_eq!(between(8, 8), []);
}
