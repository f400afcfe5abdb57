-- The whole: a real Prosody with real clients. The tests are tests/prosody, and leave their results beside those of the other items.

local t = require "harness"

t.item(101, "real clients: c2s, s2s (dialback, STARTTLS, direct TLS), components, BOSH, WebSocket, upload, proxy65, smacks, "
	.."csi, limits; Prosody's own specs and integration tests", nil, {
	elsewhere = { "trochee-epoll", "trochee-poll", "trochee-select", "epoll", "trochee-epoll-13", "epoll-13" },
})

t.item(102, "other people's modules that deal with connections work; prosody.md lists them", nil, {
	elsewhere = { "trochee-epoll", "epoll", "trochee-epoll-13", "epoll-13" },
	stock = {
		epoll = { "mod_sasl2 asks a connection with TLS for ssl_info(), which came with 13.0", match = "ssl_info" },
		["epoll-13"] = false,
	},
})
