//! A flag is yes or no.

fn main() {
    let proxied = 1;
    payi::track_context!(log_prompt_and_response = "yes", proxy = proxied, {});
}
