use super::*;

#[test]
fn a_name_is_looked_for_in_each_directory_of_the_path() {
    assert_eq!(
        candidates(c"ls", b"/bin::/x/"),
        [c"/bin/ls", c"ls", c"/x//ls"].map(CStr::to_owned)
    );
}

#[test]
fn a_name_with_a_slash_is_itself() {
    assert_eq!(candidates(c"./ls", b"/bin"), [c"./ls".to_owned()]);
}

#[test]
fn an_empty_name_is_nowhere() {
    assert_eq!(candidates(c"", b"/bin:"), Vec::<CString>::new());
}
