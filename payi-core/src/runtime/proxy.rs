//! Addresses of Pay-i's proxy, for clients whose calls go through it.
//!
//! In proxy mode (`proxy = true`, at the start or in a scope) calls carry their context as headers, and
//! Pay-i, in between, reports them itself and can refuse them. For that the client's base address must
//! be Pay-i's:
//!
//! ```
//! use payi_core::runtime::proxy;
//!
//! let base = proxy::openai(Some("https://api.pay-i.com"));
//! assert_eq!(base, "https://api.pay-i.com/api/v1/proxy/openai/v1");
//! ```
//!
//! `None` stands for `PAYI_BASE_URL`, or else for Pay-i's own address. The context, and Pay-i's key, are added to
//! requests to the address given to `payi::instrument()` and to no other: a call in proxy mode that goes elsewhere is
//! treated like any other call, with a warning.
//!
//! Azure and Bedrock need the provider's own `scheme://host` besides, in a header of the client's:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[cfg(feature = "reqwest")] {
//! use payi_core::runtime::proxy;
//!
//! let mut headers = reqwest::header::HeaderMap::new();
//! headers.insert(proxy::PROVIDER_BASE_URI, "https://acme.openai.azure.com".parse()?);
//! let client = reqwest::Client::builder().default_headers(headers).build()?;
//! let tracked = payi_core::clients::reqwest::Client::from(client);
//! let base = proxy::azure_openai(None); // the client's base address
//! # drop((tracked, base)); }
//! # Ok(())
//! # }
//! ```

use crate::events::PAY_I;

/// The header that tells Pay-i's proxy the provider's own `scheme://host`, where that is not the same for everybody:
/// on Azure and Bedrock.
pub const PROVIDER_BASE_URI: &str = "xproxy-provider-baseuri";

fn at(base: Option<&str>, path: &str) -> String {
    let variable = || std::env::var("PAYI_BASE_URL").ok().filter(|url| !url.is_empty());
    let base = base.map(str::to_owned).or_else(variable).unwrap_or_else(|| PAY_I.to_owned());
    format!("{}/api/v1/proxy/{path}", base.trim_end_matches('/'))
}

/// For OpenAI's clients.
pub fn openai(base: Option<&str>) -> String {
    at(base, "openai/v1")
}

/// For Azure OpenAI's clients.
pub fn azure_openai(base: Option<&str>) -> String {
    at(base, "azure.openai")
}

/// For Anthropic's clients.
pub fn anthropic(base: Option<&str>) -> String {
    at(base, "anthropic")
}

/// For Anthropic's models on Azure.
pub fn azure_anthropic(base: Option<&str>) -> String {
    at(base, "azure.anthropic")
}

/// For Bedrock's clients.
pub fn aws_bedrock(base: Option<&str>) -> String {
    at(base, "aws.bedrock")
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_provider_has_its_address() {
        let base = Some("http://127.0.0.1:8080/");
        assert_eq!(super::azure_openai(base), "http://127.0.0.1:8080/api/v1/proxy/azure.openai");
        assert_eq!(super::anthropic(base), "http://127.0.0.1:8080/api/v1/proxy/anthropic");
        assert_eq!(super::azure_anthropic(base), "http://127.0.0.1:8080/api/v1/proxy/azure.anthropic");
        assert_eq!(super::aws_bedrock(base), "http://127.0.0.1:8080/api/v1/proxy/aws.bedrock");
    }
}
