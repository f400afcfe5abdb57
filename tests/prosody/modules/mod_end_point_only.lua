-- Leaves only tls-server-end-point among the channel bindings on offer (XEP-0440), so that a client takes it under TLS 1.3.

module:hook("stream-features", function (event)
	local offered = event.features:get_child("sasl-channel-binding", "urn:xmpp:sasl-cb:0");
	if offered then
		offered:maptags(function (tag)
			return tag.attr.type == "tls-server-end-point" and tag or nil;
		end);
	end
end, -1000);
