//! The faults of a comparison as a picture: a dot for each, on a logarithmic scale of time.
//!
//! The picture is an SVG that needs nothing else, for the README.

use std::fmt::Write as _;

use super::Sample;

/// What one system did at one class of faults.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub class: &'a str,
    pub system: &'a str,
    pub gap_ms: &'a Sample,
    /// Faults after which acknowledged rows were missing.
    pub lossy: u32,
    /// Faults after which nobody was answered any more.
    pub never_back: u32,
}

const WIDTH: f64 = 880.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 64.0;
const LINE: f64 = 22.0;
/// The scale ends at a tenth of a second and at some minutes.
const LEAST_MS: f64 = 100.0;
const MOST_MS: f64 = 200_000.0;
const TICKS: [(f64, &str); 7] = [
    (100.0, "0.1 s"),
    (300.0, "0.3 s"),
    (1_000.0, "1 s"),
    (3_000.0, "3 s"),
    (10_000.0, "10 s"),
    (30_000.0, "30 s"),
    (100_000.0, "100 s"),
];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#24292f}\
    .head{font-weight:600}.small{font-size:11px;fill:#57606a}.bad{fill:#b3261e}\
    .grid{stroke:#d0d7de}.dot{fill:#0b6bcb;fill-opacity:.55}.peer{fill:#8a6d00;fill-opacity:.6}\
    .median{stroke:#24292f;stroke-width:2}";

/// Draws the rows, those of one class below each other; `ours` marks the systems that are ours.
pub fn svg(title: &str, rows: &[Row<'_>], ours: impl Fn(&str) -> bool) -> String {
    let classes = rows.iter().zip(std::iter::once(None).chain(rows.iter().map(Some)));
    let heads = classes.filter(|(row, before)| before.is_none_or(|b| b.class != row.class)).count();
    let height = TOP + LINE * lines(rows.len() + heads * 2) + LINE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\"><style>{STYLE}</style><rect width=\"{WIDTH}\" height=\"{height}\" \
         fill=\"#fff\"/><text class=\"head\" x=\"16\" y=\"26\">{}</text>\n",
        escaped(title)
    );
    for (value, label) in TICKS {
        let (x, end) = (place(value), height - LINE);
        add(&mut out, &format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{end}\"/>"));
        let y = TOP - 8.0;
        add(&mut out, &text("small", x, y, "middle", label));
    }
    let mut y = TOP;
    let mut class = "";
    for row in rows {
        if row.class != class {
            class = row.class;
            y += LINE * 2.0;
            add(&mut out, &text("head", 16.0, y - LINE * 0.4, "start", class));
        }
        y += LINE;
        draw(&mut out, row, y - LINE * 0.5, ours(row.system));
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, row: &Row<'_>, y: f64, ours: bool) {
    add(out, &text("", LEFT - 12.0, y + 4.0, "end", row.system));
    let kind = if ours { "dot" } else { "peer" };
    for value in row.gap_ms.values() {
        let x = place(*value);
        add(out, &format!("<circle class=\"{kind}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"5\"/>"));
    }
    let mut remarks = Vec::new();
    if row.gap_ms.count() > 0 {
        let x = place(row.gap_ms.median());
        let (above, below) = (y - 8.0, y + 8.0);
        add(out, &format!("<path class=\"median\" d=\"M{x:.1} {above}V{below}\"/>"));
        remarks.push((format!("{:.1} s", row.gap_ms.median() / 1000.0), ""));
    }
    if row.never_back > 0 {
        remarks.push((format!("{} never back", row.never_back), "bad"));
    }
    if row.lossy > 0 {
        remarks.push((format!("rows lost in {}", row.lossy), "bad"));
    }
    let mut spans = String::new();
    for (remark, kind) in remarks {
        let gap = if spans.is_empty() { "" } else { " dx=\"8\"" };
        spans += &format!("<tspan class=\"{kind}\"{gap}>{remark}</tspan>");
    }
    let (x, y) = (RIGHT + 8.0, y + 4.0);
    add(out, &format!("<text class=\"small\" x=\"{x}\" y=\"{y}\">{spans}</text>"));
}

/// Where a time is on the scale; what is beyond its ends is at them.
fn place(milliseconds: f64) -> f64 {
    let bounded = milliseconds.clamp(LEAST_MS, MOST_MS);
    let share = (bounded / LEAST_MS).ln() / (MOST_MS / LEAST_MS).ln();
    LEFT + share * (RIGHT - LEFT)
}

fn text(kind: &str, x: f64, y: f64, anchor: &str, words: &str) -> String {
    let words = escaped(words);
    format!(
        "<text class=\"{kind}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    )
}

fn add(out: &mut String, element: &str) {
    // Writing to a string can't fail.
    let _written = writeln!(out, "{element}");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[allow(clippy::cast_precision_loss)] // A few dozen.
fn lines(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_time_is_further_to_the_right_and_the_ends_hold() {
        assert!((place(1.0) - LEFT).abs() < f64::EPSILON);
        assert!((place(1e9) - RIGHT).abs() < f64::EPSILON);
        assert!(place(300.0) < place(3_000.0));
    }

    #[test]
    fn every_fault_is_a_dot_and_what_went_wrong_is_said() {
        let mut gap_ms = Sample::default();
        gap_ms.extend([500.0, 700.0, 900.0]);
        let none = Sample::default();
        let row = |class, system, gap_ms, lossy, never_back| Row {
            class,
            system,
            gap_ms,
            lossy,
            never_back,
        };
        let rows = [row("cut & <out>", "ours", &gap_ms, 0, 0), row("kill", "theirs", &none, 42, 3)];
        let drawn = svg("gaps", &rows, |system| system == "ours");
        assert_eq!(drawn.matches("<circle class=\"dot\"").count(), 3);
        assert_eq!(drawn.matches("<circle class=\"peer\"").count(), 0);
        for part in ["cut &amp; &lt;out>", ">0.7 s<", ">3 never back<", ">rows lost in 42<"] {
            assert!(drawn.contains(part), "{part} isn't in\n{drawn}");
        }
    }
}
