//! Makes the committed price book from the published data of others.
//!
//! ```text
//! cargo run -p payi-pricebook -- genai-prices <dump.json> <version> <date> > payi-core/src/pricing/book/genai-prices.txt
//! cargo run -p payi-pricebook -- litellm <model_prices.json> <genai-prices.txt> <version> <date> > payi-core/src/pricing/book/litellm.txt
//! cargo run -p payi-pricebook -- limits <model_prices.json> <version> <date> > payi-core/src/pricing/book/limits.txt
//! ```
//!
//! The book is reviewed as the diff of its text. What the data says wrongly is put right by hand in
//! `corrections.txt`, which is laid over it, with source and date.

mod clause;
mod decimal;
mod genai;
mod limits;
mod litellm;

use std::{error::Error, fs, io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args).and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<String, Box<dyn Error>> {
    match args {
        ["genai-prices", path, version, day] => {
            let providers = serde_json::from_str(&fs::read_to_string(path)?)?;
            let source = format!("genai-prices {version} {day} MIT https://github.com/pydantic/genai-prices");
            Ok(genai::book(&providers, &source)?)
        }
        ["litellm", path, below, version, day] => {
            let date = format!("{day}T00:00:00Z").parse::<jiff::Timestamp>()?;
            let models = serde_json::from_str(&fs::read_to_string(path)?)?;
            let known = payi_core::pricing::PriceBook::default().with_book(&fs::read_to_string(below)?)?;
            let source = format!("LiteLLM {version} {day} MIT https://github.com/BerriAI/litellm");
            Ok(litellm::book(&models, &known, &source, date.as_microsecond())?)
        }
        ["limits", path, version, day] => {
            let models = serde_json::from_str(&fs::read_to_string(path)?)?;
            let source = format!("LiteLLM {version} {day} MIT https://github.com/BerriAI/litellm");
            Ok(limits::book(&models, &source))
        }
        _ => Err("usage: payi-pricebook genai-prices|litellm|limits …: see the head of src/main.rs".into()),
    }
}
