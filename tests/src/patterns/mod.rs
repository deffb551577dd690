//! The five patterns, each over the doors that speak it.

mod request_response;

mod publish_subscribe;

mod short_polling;

mod long_polling;

mod push;
