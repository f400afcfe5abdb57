-- Item 104: the names that clients ask for by SNI, as they really come.

local t = require "harness"
local support = require "tls_support"

t.item(104, "SNI: a name with U-labels or A-labels and in any case is its host's; one that is no DNS name ends the handshake "
	.."only where hosts are chosen by name", function (s)
	local tls = support(s)
	local listening, port = tls.listen(s.recorder(), tls.server(tls.cert("default.example")), { sni_hosts = {} })

	-- What RFC 6066 does not allow
	local malformed = {
		"host.example:5223", "a host.example", "-host.example", "host..example", "[::1]", "b\252cher.example", "bücher.example",
		("a"):rep(64)..".example", "host_name.example", "host.example.", "127.0.0.1",
	}
	for _, protocol in ipairs { "tlsv1_2", "tlsv1_3" } do
		for _, name in ipairs(malformed) do
			local got, err = tls.name_at(port, name, { mode = "client", protocol = protocol })
			s.eq(got, "default.example", ("the certificate for %q where nothing is chosen by name (%s, %s)"):format(name, protocol, err))
		end
	end

	tls.host(listening, "bücher.example", tls.cert("buecher.example"))
	tls.host(listening, "host.example", tls.cert("host.example"))
	tls.host(listening, "host_name.example", tls.cert("host_name.example"))
	s.eq(tls.name_at(port, "bücher.example"), "buecher.example", "the U-label")
	s.eq(tls.name_at(port, "host.example"), "host.example")
	s.eq(tls.name_at(port, "host_name.example"), "host_name.example", "an underscore")
	s.eq(tls.name_at(port), "default.example", "no name")
	for _, name in ipairs { "host.example:5223", "a host.example", "b\252cher.example", "xn--bcher-.example" } do
		local got, err = tls.name_at(port, name)
		s.eq(got, nil, "the certificate for "..name)
		s.ok(tostring(err):find("unrecognized name", 1, true), ("the alert for %q: %s"):format(name, err))
	end

	s.eq(tls.name_at(port, "xn--bcher-kva.example"), "buecher.example", "the A-label")
	for name, expected in pairs {
		["XN--BCHER-KVA.Example"] = "buecher.example", ["BÜCHER.Example"] = "buecher.example", ["Host.EXAMPLE"] = "host.example",
		["host.example."] = "host.example", ["HOST_name.example"] = "host_name.example",
	} do
		s.eq(tls.name_at(port, name), expected, name)
	end
	-- Whoever configures it in another way means the same
	tls.host(listening, "XN--FSQU00A.Example", tls.cert("a-label.example"))
	s.eq(tls.name_at(port, "例子.example"), "a-label.example", "a host that is configured with A-labels")
	listening:close()
end, { stock = {
	epoll = { "knows a host by the very bytes that are configured: not by its A-label, not in capitals", match = "the A%-label" },
	event = { "knows a host by the very bytes that are configured: not by its A-label, not in capitals", match = "the A%-label" },
	select = { "not offered: SNI on a listener", match = "the U%-label" },
	["select-13"] = { "knows a host by the very bytes that are configured: not by its A-label, not in capitals", match = "the A%-label" },
} })
