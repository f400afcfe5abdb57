-- GET /fetch?<url> fetches the URL by Prosody's HTTP client, and answers with the code and the body, or with the error.

local http = require "net.http";
local promise = require "util.promise";

module:depends "http";
module:provides("http", {
	default_path = "/fetch";
	route = {
		GET = function (event)
			return promise.new(function (resolve)
				http.request(event.request.url.query, nil, function (body, code)
					resolve(("%s %s"):format(code, body));
				end);
			end);
		end;
	};
});
