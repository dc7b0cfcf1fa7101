//! What is said about Dockerfiles that are wrong: the text is the promise.

use super::golden;

const MARK: &str = "\n>>>\n";

/// Cases are `=== name`, options that begin with `%`, the file, `>>>`, and what is said.
#[test]
fn messages() {
    let path = golden::directory("bad").join("messages.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut result = String::new();
    let mut count = 0;
    for case in text.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (body, _) = rest.split_once(MARK).unwrap_or((rest.trim_end(), ""));
        let (options, file): (Vec<&str>, Vec<&str>) =
            body.lines().partition(|line| line.starts_with('%'));
        let options = options.join("\n").replace('%', "");
        let file = file.join("\n");
        let error = golden::plan(&file, &golden::options(&options))
            .expect_err(&format!("{name} is not refused"));
        result.push_str(&format!("=== {name}\n{body}{MARK}{error}\n\n"));
        count += 1;
    }
    assert!(count >= 40, "{count} cases");
    golden::check(&path, &result);
}
