//! How many tests passed, failed and were skipped, read from what the test programs print.

use std::ops::AddAssign;

/// Tests, or parts that are not made of tests, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Takes one line of a test program's output into account; other lines are nothing to it.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some(counts) = libtest(line) {
            *self += counts;
        } else if let Some((word, count)) = tap(line) {
            match word {
                "pass" => self.passed += count,
                "fail" | "cancelled" => self.failed += count,
                "skipped" | "todo" => self.skipped += count,
                _ => {}
            }
        }
    }

    pub(crate) fn total(self) -> u64 {
        self.passed + self.failed + self.skipped
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn libtest(line: &str) -> Option<Counts> {
    let (_verdict, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let mut result = Counts::default();
    for count in counts.split(';') {
        let Some((number, word)) = count.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" => result.passed = number,
            "failed" => result.failed = number,
            "ignored" => result.skipped = number,
            _ => {}
        }
    }
    Some(result)
}

/// The last lines of Node's TAP: `# pass 12`.
fn tap(line: &str) -> Option<(&str, u64)> {
    let (word, number) = line.strip_prefix("# ")?.split_once(' ')?;
    Some((word, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn read(text: &str) -> Counts {
        let mut counts = Counts::default();
        text.lines().for_each(|line| counts.read_line(line));
        counts
    }

    #[test]
    fn libtest_summaries_are_summed() {
        let counts = read(
            "running 6 tests\n\
             test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.20s\n",
        );
        assert_eq!(counts, Counts { passed: 6, failed: 2, skipped: 1 });
    }

    #[test]
    fn node_summaries_are_summed() {
        let counts = read("# tests 4\n# suites 1\n# pass 2\n# fail 1\n# cancelled 0\n# skipped 1\n# todo 0\n");
        assert_eq!(counts, Counts { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(read("test result\n# heading\nerror: 3 failed; 2 passed\n"), Counts::default());
    }
}
