//! One figure of several servers as horizontal bars, as an SVG that a document can show. Colours are readable on white
//! and on black.

use std::fmt::Write as _;

use crate::stats::Spread;

const WIDTH: f64 = 720.0;
const ROW: f64 = 30.0;
const TOP: f64 = 44.0;
const NAMES: f64 = 190.0;
const VALUES: f64 = 150.0;

/// The bars, in the order given; ours stands out.
pub(crate) fn bars(title: &str, unit: &str, rows: &[(String, Spread)]) -> String {
    let longest = rows.iter().map(|(_, spread)| spread.high).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - VALUES) / longest;
    let height = TOP + ROW * rows.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"14\">\n<title>{}</title>\n<text x=\"8\" y=\"24\" font-weight=\"bold\" fill=\"#777\">{}</text>\n",
        escape(title),
        escape(title),
    );
    for (i, (name, spread)) in rows.iter().enumerate() {
        let y = TOP + ROW * i as f64;
        let (bar, low, high) = (NAMES + spread.median * scale, NAMES + spread.low * scale, NAMES + spread.high * scale);
        let fill = if name.starts_with("quintet") { "#d95f02" } else { "#7f8fa6" };
        let middle = y + 11.0;
        // Writing to a string cannot fail.
        let _written = write!(
            svg,
            "<text x=\"{x}\" y=\"{base}\" text-anchor=\"end\" fill=\"#777\">{name}</text>\n\
             <rect x=\"{NAMES}\" y=\"{y}\" width=\"{width:.1}\" height=\"22\" rx=\"2\" fill=\"{fill}\"/>\n\
             <path d=\"M{low:.1} {middle}H{high:.1}M{low:.1} {from}v8M{high:.1} {from}v8\" stroke=\"#222\" fill=\"none\"/>\n\
             <text x=\"{after:.1}\" y=\"{base}\" fill=\"#777\">{value:.2} {unit}</text>\n",
            x = NAMES - 8.0,
            base = y + 16.0,
            name = escape(name),
            width = bar - NAMES,
            from = middle - 4.0,
            after = high + 8.0,
            value = spread.median,
            unit = escape(unit),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::picture::bars;
    use crate::stats::Spread;

    #[test]
    fn each_row_has_its_bar() {
        let spread = |values: [f64; 3]| Spread::of(values);
        let rows = [("floor".to_owned(), spread([1.0, 2.0, 3.0])), ("a < b & c".to_owned(), spread([2.0, 4.0, 6.0]))];
        let svg = bars("CPU", "us", &rows);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("4.00 us"));
    }
}
