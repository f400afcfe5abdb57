-- lua5.4 free-ports.lua NAME=port ...
--
-- Tries to bind every port on the loopback addresses of this machine, all at once, so that two
-- variables with the same number are noticed too. Prints the loopback addresses, one per line; for a
-- port that cannot be had, says which it is and which variable changes it, and fails.
local socket = require "socket"

local function try(family, address, port)
	local s = assert(socket[family]())
	s:setoption("reuseaddr", true) -- as Prosody does: a port in TIME_WAIT counts as free
	if family == "tcp6" then
		s:setoption("ipv6-v6only", true)
	end
	local ok, err = s:bind(address, port)
	if ok then
		ok, err = s:listen(1)
	end
	return ok and s, err
end

local addresses = { { "tcp4", "127.0.0.1" } }
local probe = socket.tcp6 and try("tcp6", "::1", 0)
if probe then
	probe:close()
	table.insert(addresses, { "tcp6", "::1" })
end

local held, failed = {}, false
for _, setting in ipairs(arg) do
	local name, value = setting:match("^([%w_]+)=(.*)$")
	local port = math.tointeger(tonumber(value))
	if not port or port < 1 or port > 65535 then
		io.stderr:write(("%s=%s is not a port number\n"):format(name, value))
		failed = true
	else
		for _, address in ipairs(addresses) do
			local s, err = try(address[1], address[2], port)
			if not s then
				io.stderr:write(("port %d cannot be used on %s: %s; set %s to another one\n"):format(port, address[2], err, name))
				failed = true
				break
			end
			table.insert(held, s)
		end
	end
end
if failed then
	os.exit(1)
end
for _, address in ipairs(addresses) do
	print(address[2])
end
