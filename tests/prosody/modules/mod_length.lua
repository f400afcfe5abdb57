-- Answers a request with the length of its body.

module:depends "http";
module:provides("http", {
	default_path = "/length";
	route = {
		POST = function (event)
			return tostring(#event.request.body);
		end;
	};
});
