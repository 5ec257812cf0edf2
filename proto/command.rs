//! The properties that all commands share, in one table.

use prost::Message;

use crate::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse,
    DeliverOrderRequest, DeliverOrderResponse, RegisterCustomerRequest, RegisterCustomerResponse,
    RegisterProductRequest, RegisterProductResponse, ShipOrderRequest, ShipOrderResponse,
    execute_commands_request::Command as AnyCommand, execute_commands_response::Result as AnyReply,
};

/// The request of a method of CommandService.
pub trait CommandRequest: Message + Default + Into<AnyCommand> {
    /// The method's name, such as `CreateOrder`.
    const NAME: &'static str;

    /// The name of the request's message, such as `CreateOrderRequest`.
    const MESSAGE: &'static str;

    /// The message of the method's reply.
    type Reply;

    /// Creates a reply: the aggregate `id` is at `version`, by the event at `position`.
    fn reply(id: String, version: u64, position: u64) -> Self::Reply;
}

/// Creates a reply from the id, version and position that a command led to.
pub type Replier<R> = fn(String, u64, u64) -> R;

macro_rules! commands {
    ($($name:ident($request:ident) -> $response:ident { $id:ident };)*) => {
        $(
            impl From<$request> for AnyCommand {
                fn from(request: $request) -> Self {
                    Self::$name(request)
                }
            }

            impl CommandRequest for $request {
                const NAME: &'static str = stringify!($name);
                const MESSAGE: &'static str = stringify!($request);
                type Reply = $response;

                fn reply($id: String, version: u64, position: u64) -> $response {
                    $response { $id, version, position }
                }
            }
        )*

        impl AnyCommand {
            /// Returns the name of the method that takes the command.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $request::NAME,)*
                }
            }

            /// Returns the command's request id, which is empty if the client gave none.
            pub fn request_id_mut(&mut self) -> &mut String {
                match self {
                    $(Self::$name(request) => &mut request.request_id,)*
                }
            }

            /// Returns the function that creates the command's reply in a stream.
            #[must_use]
            pub fn replier(&self) -> Replier<AnyReply> {
                match self {
                    $(Self::$name(_) => |id, version, position| {
                        AnyReply::$name($request::reply(id, version, position))
                    },)*
                }
            }
        }

        impl AnyReply {
            /// Returns the position in the reply, or `None` for an error.
            #[must_use]
            pub fn position(&self) -> Option<u64> {
                match self {
                    $(Self::$name(reply) => Some(reply.position),)*
                    Self::Error(_) => None,
                }
            }
        }
    };
}

commands! {
    CreateOrder(CreateOrderRequest) -> CreateOrderResponse { order_id };
    ShipOrder(ShipOrderRequest) -> ShipOrderResponse { order_id };
    DeliverOrder(DeliverOrderRequest) -> DeliverOrderResponse { order_id };
    CancelOrder(CancelOrderRequest) -> CancelOrderResponse { order_id };
    RegisterCustomer(RegisterCustomerRequest) -> RegisterCustomerResponse { customer_id };
    RegisterProduct(RegisterProductRequest) -> RegisterProductResponse { product_id };
}
