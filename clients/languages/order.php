<?php
// Writes an order's request and reads it: `php order.php FOLDER`, with the generated code in the folder.
set_include_path($argv[1] . PATH_SEPARATOR . get_include_path());
spl_autoload_register(function ($class) {
    $file = stream_resolve_include_path(str_replace("\\", "/", $class) . ".php");
    if ($file) {
        require $file;
    }
});

use Google\Type\Money;
use Orderlog\Orders\V1\CreateOrderItem;
use Orderlog\Orders\V1\CreateOrderRequest;

$price = new Money(["currency_code" => "EUR", "units" => 12, "nanos" => 500000000]);
$item = new CreateOrderItem(["product_id" => "tea", "quantity" => 2, "unit_price" => $price]);
$sent = new CreateOrderRequest(["customer_id" => "ann", "items" => [$item]]);
$read = new CreateOrderRequest();
$read->mergeFromString($sent->serializeToString());
echo "customer ", $read->getCustomerId(), "\n";
