//! Tests the files in `deploy/` and the operator documentation against the behavior of the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

use crate::{
    binary::{orderlog, repository, start, succeeded},
    telemetry::{make_calls, scrape},
};

/// Labels that Prometheus adds to every scraped metric.
const GIVEN: [&str; 2] = ["instance", "job"];

/// The metric that Prometheus records for each scraped node.
const UP: &str = "up";

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A PromQL expression, and the text that shows its labels.
#[derive(Debug)]
struct Shown {
    expression: String,
    legend: String,
}

impl Shown {
    /// Collects the expressions of the dashboard, including those of its variables.
    fn in_dashboard() -> Vec<Self> {
        let dashboard: Value = serde_json::from_str(&read("deploy/grafana/orderlog.json")).unwrap();
        let mut shown = Vec::new();
        let mut rest = vec![&dashboard];
        while let Some(value) = rest.pop() {
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            if value["expr"].is_string() {
                shown.push(Self {
                    expression: text("expr"),
                    legend: text("legendFormat"),
                });
            }
            // A variable of the dashboard has the query `label_values(SELECTOR, LABEL)`.
            let chosen = value["query"].as_str().unwrap_or_default();
            if let Some(chosen) = chosen.strip_prefix("label_values(") {
                let (selector, label) = chosen.rsplit_once(", ").unwrap();
                shown.push(Self {
                    expression: selector.to_owned(),
                    legend: format!("{{{{{}}}}}", label.trim_end_matches(')')),
                });
            }
            rest.extend(value.as_array().into_iter().flatten());
            rest.extend(
                value
                    .as_object()
                    .into_iter()
                    .flat_map(serde_json::Map::values),
            );
        }
        shown
    }

    /// Collects the expressions of the alerts.
    fn in_alerts() -> Vec<Self> {
        let alerts = read("deploy/prometheus/alerts.yaml");
        let rules = alerts.split("- alert:").skip(1);
        rules
            .map(|rule| {
                let (_, rule) = rule.split_once(" expr: ").unwrap();
                let (expression, rest) = rule.split_once(" for: ").unwrap();
                Self {
                    expression: expression.trim_start_matches('|').trim().to_owned(),
                    legend: rest.replace("$labels.", ""),
                }
            })
            .collect()
    }

    /// Splits the expression into words and signs, and drops strings and durations.
    fn tokens(&self) -> Vec<&str> {
        let mut tokens = Vec::new();
        let mut rest = self.expression.as_str();
        while let Some(first) = rest.chars().next() {
            let is_of_word = |char: char| char.is_alphanumeric() || char == '_';
            let length = match first {
                '"' => 2 + rest[1..].find('"').unwrap(),
                '[' => 1 + rest.find(']').unwrap(),
                _ if is_of_word(first) => rest.find(|char| !is_of_word(char)).unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            let (token, behind) = rest.split_at(length);
            if !token.starts_with(['"', '[', ' ', '\n']) {
                tokens.push(token);
            }
            rest = behind;
        }
        tokens
    }

    /// Returns the metrics in the expression.
    fn metrics(&self) -> BTreeSet<&str> {
        let tokens = self.tokens().into_iter();
        tokens
            .filter(|token| token.starts_with("orderlog_"))
            .collect()
    }

    /// Returns the labels that the expression selects from `metric`, and the labels that group,
    /// join or show values.
    fn labels(&self, metric: &str) -> BTreeSet<&str> {
        let mut labels = BTreeSet::new();
        let tokens = self.tokens();
        for (index, token) in tokens.iter().enumerate() {
            let until = match (*token, tokens.get(index + 1)) {
                ("by" | "on" | "without" | "ignoring", _) => ")",
                (name, Some(&"{")) if name == metric => "}",
                _ => continue,
            };
            let inside = tokens[index + 2..].iter().take_while(|it| **it != until);
            labels.extend(inside.filter(|it| it.starts_with(char::is_alphabetic)));
        }
        let legend = self.legend.split("{{").skip(1);
        let words = legend.filter_map(|it| Some(it.split_once("}}")?.0.trim()));
        // Alert texts also contain values and conditions in braces.
        let is_label =
            |it: &&str| it.chars().all(char::is_lowercase) && !["else", "end"].contains(it);
        labels.extend(words.filter(is_label));
        labels
    }
}

/// The metrics of the server: `samples` maps each name to its labels, and `metrics` holds names
/// without histogram suffixes.
struct Served {
    samples: BTreeMap<String, BTreeSet<String>>,
    metrics: BTreeSet<String>,
}

impl Served {
    async fn after_calls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = start(folder.path());
        make_calls(&process).await;
        let text = scrape(&process).await;
        let mut samples = BTreeMap::<String, BTreeSet<String>>::new();
        let mut metrics = BTreeSet::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                metrics.insert(comment.split(' ').next().unwrap().to_owned());
            }
            if line.starts_with("orderlog_") {
                let (sample, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
                let labels = labels.split('=').rev().skip(1);
                let names = labels.map(|it| it.rsplit(['"', ',']).next().unwrap().to_owned());
                samples.entry(name.to_owned()).or_default().extend(names);
            }
        }
        Self { samples, metrics }
    }

    /// Returns the metric of a sample, without a histogram suffix.
    fn metric_of(&self, sample: &str) -> String {
        let suffixes = ["_bucket", "_sum", "_count"];
        let base = suffixes.iter().find_map(|it| sample.strip_suffix(it));
        let base = base.filter(|base| self.metrics.contains(*base));
        base.unwrap_or(sample).to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_and_the_alerts_use_served_metrics_and_labels() {
    let served = Served::after_calls().await;
    let (dashboard, alerts) = (Shown::in_dashboard(), Shown::in_alerts());
    assert!(!dashboard.is_empty() && !alerts.is_empty());
    for shown in dashboard.iter().chain(&alerts) {
        let is_of_nothing = shown.metrics().is_empty() && !shown.tokens().contains(&UP);
        assert!(!is_of_nothing, "{shown:?}");
        for metric in shown.metrics() {
            let labels = served.samples.get(metric);
            let labels = labels.unwrap_or_else(|| panic!("{metric} is not served: {shown:?}"));
            for label in shown.labels(metric) {
                let is_there = labels.contains(label) || GIVEN.contains(&label);
                assert!(is_there, "{metric} has no {label}: {shown:?}");
            }
        }
    }
    let shown = dashboard.iter().flat_map(Shown::metrics);
    let shown: BTreeSet<_> = shown.map(|sample| served.metric_of(sample)).collect();
    assert_eq!(shown, served.metrics, "the dashboard shows every metric");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_metric_is_in_the_operations_guide() {
    let served = Served::after_calls().await;
    let operations = read("docs/guide/operations.md");
    let rows = operations.lines().filter(|line| line.starts_with("| `"));
    let explained: BTreeSet<_> = rows
        .map(|row| row.split('`').nth(1).unwrap().split('{').next().unwrap())
        .filter(|name| name.starts_with("orderlog_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(explained, served.metrics);
}

#[test]
fn each_alert_links_to_a_section_of_the_operations_guide() {
    let operations = read("docs/guide/operations.md");
    let headings = operations.lines().filter(|line| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect();
    let alerts = read("deploy/prometheus/alerts.yaml");
    let runbooks = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "));
    let runbooks: Vec<_> = runbooks.collect();
    assert_eq!(runbooks.len(), alerts.matches("- alert:").count());
    for runbook in runbooks {
        let anchor = runbook.strip_prefix("docs/guide/operations.md#").unwrap();
        assert!(anchors.contains(anchor), "{anchor}: {anchors:?}");
    }
}

#[test]
#[ignore = "needs promtool"]
fn promtool_accepts_the_alerts_and_the_dashboard() {
    let promtool = test_support::promtool();
    let folder = tempfile::tempdir().unwrap();
    let rules = Shown::in_dashboard().into_iter().enumerate();
    let rules: Vec<_> = rules
        .map(|(index, shown)| {
            // Grafana replaces this variable with an interval.
            let expression = shown.expression.replace("$__rate_interval", "1m");
            serde_json::json!({ "record": format!("panel:{index}"), "expr": expression })
        })
        .collect();
    // JSON is valid YAML.
    let panels = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(folder.path().join("panels.yaml"), panels.to_string()).unwrap();
    let run = |arguments: [&str; 3]| {
        let mut promtool = Command::new(&promtool);
        promtool.args(arguments).current_dir(repository());
        let output = promtool.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let panels = folder.path().join("panels.yaml");
    run(["check", "rules", panels.to_str().unwrap()]);
    run(["check", "rules", "deploy/prometheus/alerts.yaml"]);
    run(["test", "rules", "deploy/prometheus/alerts_test.yaml"]);
}

#[test]
fn each_setting_in_deploy_exists() {
    let mut help = orderlog();
    help.args(["serve", "--help"]);
    let help = succeeded(&help.output().unwrap());
    // The help text wraps, so line ends become spaces.
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    for file in [
        "deploy/systemd/orderlog.service",
        "deploy/systemd/network.conf",
        "deploy/systemd/orderlog.env",
        "compose.yaml",
        "Dockerfile",
    ] {
        let text = read(file);
        let settings: Vec<_> = text.split("ORDERLOG_").skip(1).collect();
        assert!(!settings.is_empty(), "{file}");
        for setting in settings {
            let end = setting.find(|char: char| char != '_' && !char.is_uppercase());
            let setting = format!("[env: ORDERLOG_{}]", &setting[..end.unwrap()]);
            assert!(help.contains(&setting), "{setting} in {file}");
        }
    }
}
