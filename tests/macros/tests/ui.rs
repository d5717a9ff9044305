//! What the compiler says where the macros are used wrongly: one file per mistake, its message beside it.
//!
//! After a change, `TRYBUILD=overwrite cargo test -p payi-test-macros --test ui` writes the messages anew:
//! read them as a user would before you commit them.

/// Every kind of mistake has its directory.
const MISTAKES: [&str; 4] = ["keys", "values", "items", "blocks"];

#[test]
fn mistakes_are_told_where_they_are() {
    let count = |kind: &str| {
        let files = std::fs::read_dir(format!("../ui/{kind}")).map(Iterator::flatten);
        files.map_or(0, |files| {
            files.filter(|file| file.path().extension().is_some_and(|it| it == "rs")).count()
        })
    };
    let pass = count("pass");
    let fail: usize = MISTAKES.iter().map(|kind| count(kind)).sum();
    {
        let cases = trybuild::TestCases::new();
        cases.pass("../ui/pass/*.rs");
        for kind in MISTAKES {
            cases.compile_fail(format!("../ui/{kind}/*.rs"));
        }
        // Dropping it runs the cases, and panics if one is not as written.
    }
    println!(
        "evidence ui-cases: {} cases ({fail} mistakes in {} topics, {pass} that pass), 0 wrong",
        fail + pass,
        MISTAKES.len()
    );
    assert!(fail + pass >= 60, "{} cases", fail + pass);
}
