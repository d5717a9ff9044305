//! Charts as SVG, drawn here. Colours are placeholders that the style sheet replaces, so that one drawing
//! serves light and dark; every bar carries its figures as a title, and a table says the same in text.

use std::fmt::Write as _;

use payi_core::{
    ledger::read::{PartName, Series},
    money::Money,
};
use plotters::{
    chart::ChartBuilder,
    element::Rectangle,
    prelude::{IntoDrawingArea as _, SVGBackend},
    style::{Color as _, IntoFont as _, RGBColor, TextStyle},
};

use crate::server::format;

/// Parts that get a colour of their own.
pub(crate) const PARTS: usize = 5;

const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);

/// A chart ready for a template.
#[derive(Debug, Default)]
pub(crate) struct Chart {
    /// For wide and for narrow screens.
    pub(crate) wide: String,
    pub(crate) narrow: String,
    pub(crate) legend: Vec<Legend>,
    /// The same in text: one row per slot that holds anything.
    pub(crate) rows: Vec<(String, Vec<String>)>,
    pub(crate) label: String,
    pub(crate) empty: bool,
}

/// One entry of a chart's legend.
#[derive(Debug)]
pub(crate) struct Legend {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) total: String,
    pub(crate) share: String,
}

/// Spend over time, stacked.
pub(crate) fn stacked(series: &Series, labels: &[String], what: &str) -> Chart {
    let mut series = series.clone();
    // What has no known cost has no height either; the tables name it.
    series.parts.retain(|part| part.total != Money::ZERO);
    let total: Money = series.parts.iter().map(|part| part.total).sum();
    let mut colour = 0;
    let mut legend = Vec::new();
    let mut colours = Vec::new();
    for part in &series.parts {
        let (name, class) = match &part.name {
            PartName::Named(name) => {
                colour += 1;
                (format::clipped(name), format!("c{colour}"))
            }
            PartName::Nameless => (format!("No {what}"), "c-none".into()),
            _ => ("Other".into(), "c-other".into()),
        };
        colours.push(match class.as_str() {
            "c-none" => 14,
            "c-other" => 15,
            _ => u8::try_from(colour).unwrap_or(15),
        });
        legend.push(Legend {
            name,
            class,
            total: format::money(part.total),
            share: format::share(part.total, total),
        });
    }
    let rows = (0..labels.len())
        .filter(|&slot| series.parts.iter().any(|p| p.costs.get(slot).is_some_and(|c| *c != Money::ZERO)))
        .map(|slot| {
            let cells = series.parts.iter().map(|p| p.costs.get(slot).copied().unwrap_or_default());
            (labels[slot].clone(), cells.map(format::money).collect())
        })
        .collect();
    Chart {
        wide: draw(&series, &colours, labels, (1000, 240)).unwrap_or_default(),
        narrow: draw(&series, &colours, labels, (420, 240)).unwrap_or_default(),
        label: format!("Spend over time in US dollars, {} in total", format::money(total)),
        legend,
        rows,
        empty: total == Money::ZERO,
    }
}

fn part_colour(index: u8) -> RGBColor {
    RGBColor(192, 0, index)
}

/// Dollars as a height on a screen: the only place where money becomes a float, and nothing is read back.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than a float")]
fn height(amount: Money) -> f64 {
    amount.pico() as f64 / 1e12
}

fn draw(
    series: &Series,
    colours: &[u8],
    labels: &[String],
    (width, tall): (u32, u32),
) -> Result<String, Box<dyn std::error::Error>> {
    const LEFT: u32 = 64;
    const BOTTOM: u32 = 26;
    let slots = labels.len();
    let top = (0..slots)
        .map(|slot| series.parts.iter().filter_map(|p| p.costs.get(slot)).copied().sum::<Money>())
        .max()
        .map_or(0.0, height);
    let (step, ceiling) = ticks(top);
    let mut svg = String::new();
    let area;
    {
        let root = SVGBackend::with_string(&mut svg, (width, tall)).into_drawing_area();
        let slots_end = i32::try_from(slots.max(1))?;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8)
            .margin_right(4)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0..slots_end, 0.0..ceiling)?;
        let text = TextStyle::from(("system-ui", 12).into_font()).color(&INK);
        let ticks_across = if width < 600 { 4 } else { 10 };
        let every = slots.div_ceil(ticks_across).max(1);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(GRID)
            .y_labels(5)
            .label_style(text.clone())
            .y_label_formatter(&|v| usd(*v, step))
            .draw()?;
        for slot in 0..slots {
            let mut base = 0.0;
            for (part, &colour) in series.parts.iter().zip(colours) {
                let tip = base + part.costs.get(slot).copied().map_or(0.0, height);
                if tip > base {
                    let x = i32::try_from(slot)?;
                    let mut bar = Rectangle::new([(x, base), (x + 1, tip)], part_colour(colour).filled());
                    bar.set_margin(0, 0, 1, 1);
                    chart.draw_series(std::iter::once(bar))?;
                }
                base = tip;
            }
        }
        area = chart.plotting_area().get_pixel_range();
        let centred = text.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        for (slot, label) in labels.iter().enumerate().step_by(every) {
            let x = middle(&area.0, slot, slots);
            root.draw(&plotters::element::Text::new(label.clone(), (x, area.1.end + 8), centred.clone()))?;
        }
        root.present()?;
    }
    titles(&mut svg, series, labels, &area);
    Ok(svg)
}

fn middle(across: &std::ops::Range<i32>, slot: usize, slots: usize) -> i32 {
    let span = i64::from(across.end - across.start);
    let (slot, slots) = (i64::try_from(slot).unwrap_or(0), i64::try_from(slots.max(1)).unwrap_or(1));
    across.start + i32::try_from(span * (2 * slot + 1) / (2 * slots)).unwrap_or(0)
}

/// Lays an invisible column over each slot that says what is in it.
fn titles(
    svg: &mut String,
    series: &Series,
    labels: &[String],
    area: &(std::ops::Range<i32>, std::ops::Range<i32>),
) {
    let Some(end) = svg.rfind("</svg>") else { return };
    svg.truncate(end);
    let span = area.0.end - area.0.start;
    let slots = i32::try_from(labels.len().max(1)).unwrap_or(1);
    let edge = |slot: usize| area.0.start + span * i32::try_from(slot).unwrap_or(0) / slots;
    for (slot, label) in labels.iter().enumerate() {
        let cost = |part: &payi_core::ledger::read::Part| part.costs.get(slot).copied().unwrap_or_default();
        let total: Money = series.parts.iter().map(cost).sum();
        let mut title = format!("{label}: {} USD", format::money(total));
        for part in series.parts.iter().filter(|p| cost(p) != Money::ZERO).rev() {
            let name = match &part.name {
                PartName::Named(name) => format::clipped(name),
                PartName::Nameless => "(none)".into(),
                _ => "Other".into(),
            };
            let _ = write!(title, "\n{name}: {}", format::money(cost(part)));
        }
        let (x, width) = (edge(slot), edge(slot + 1) - edge(slot));
        let (y, tall) = (area.1.start, area.1.end - area.1.start);
        let _ = write!(
            svg,
            "<rect class=\"slot\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{tall}\"><title>{}</title></rect>",
            escaped(&title)
        );
    }
    svg.push_str("</svg>");
}

/// A text that is safe inside SVG.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A step of 1, 2 or 5 times a power of ten that gives three to five lines below the top, and the end of the axis.
fn ticks(top: f64) -> (f64, f64) {
    if top <= 0.0 {
        return (0.25, 1.0);
    }
    let power = 10_f64.powf((top / 4.0).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| top / s <= 4.5).unwrap_or(power * 10.0);
    (step, (top / step).ceil() * step)
}

/// A price on the axis, with as many decimals as its step needs.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 12")]
fn usd(value: f64, step: f64) -> String {
    let (unit, name) = match step {
        _ if value.abs() < step / 2.0 => (1.0, ""),
        1e9.. => (1e9, " bn"),
        1e6.. => (1e6, " M"),
        1e3.. => (1e3, " k"),
        _ => (1.0, ""),
    };
    let decimals = (-((step / unit).log10().floor())).clamp(0.0, 12.0) as usize;
    format!("${:.decimals$}{name}", value / unit)
}

/// A tiny line of costs: its points for `<polyline>`, in a box of 96 × 20.
pub(crate) fn sparkline(costs: &[Money]) -> String {
    const W: i128 = 96;
    const H: i128 = 18;
    let top = costs.iter().map(|c| c.pico()).max().unwrap_or(0);
    if top <= 0 || costs.len() < 2 {
        return String::new();
    }
    let last = i128::try_from(costs.len() - 1).unwrap_or(1);
    let mut points = String::new();
    for (i, cost) in costs.iter().enumerate() {
        let x = W * i128::try_from(i).unwrap_or(0) / last;
        let y = H - (H - 1) * cost.pico().max(0) / top;
        let _ = write!(points, "{x},{y} ");
    }
    points
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_axis_says_as_much_as_its_step_needs() {
        for (value, step, text) in [
            (0.0025, 0.0005, "$0.0025"),
            (15.0, 5.0, "$15"),
            (600.0, 200.0, "$600"),
            (2e7, 5e6, "$20 M"),
            (1.5e4, 5e3, "$15 k"),
        ] {
            assert_eq!(super::usd(value, step), text);
        }
    }
}
