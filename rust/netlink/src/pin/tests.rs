use super::holders;

#[test]
fn holders_are_those_of_the_flock_of_that_file() {
    let locks = "1: POSIX  ADVISORY  WRITE 10 00:1a:77 0 EOF\n\
                 2: FLOCK  ADVISORY  WRITE 11 00:1a:77 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 12 00:1a:77 0 EOF\n\
                 3: FLOCK  ADVISORY  WRITE 13 fe:00:77 0 EOF\n\
                 4: FLOCK  ADVISORY  READ 14 00:1a:77 0 EOF\n";
    assert_eq!(holders(locks, (0, 0x1a), 77), [11, 14]);
    assert_eq!(holders("", (0, 0x1a), 77), [0_u32; 0]);
}
