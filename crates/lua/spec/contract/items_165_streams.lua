-- Much data: items 165 and 166 of the contract.

local t = require "harness"

-- Bytes that tell where they stand, without an end of a line: some backends read by lines where no read size is given.
local function text(length)
	local words = {}
	for i = 1, math.floor(length / 10) + 1 do
		words[i] = ("%09d "):format(i)
	end
	return table.concat(words):sub(1, length)
end

-- The lengths of the pieces that onincoming got for `conn`
local function lengths(rec, conn)
	local list = {}
	for _, event in ipairs(rec.events) do
		if event[1] == "onincoming" and event[2] == conn then
			table.insert(list, #event[3])
		end
	end
	return list
end

t.item(165, "where nobody has chosen a read size, pieces grow from 8192 to 65536 bytes while more waits; a number is a bound", function (s)
	-- More than the system holds, so that there is always more to read.
	local data = text(400000)
	local function pieces(config, settings)
		s.settings(settings or {})
		local conn, peer, rec = s.pair(nil, config)
		conn:pause()
		s.sleep(0.05)
		local sent = 0
		peer.sock:settimeout(0)
		s.wait(function ()
			local last, err, partial = peer.sock:send(data, sent + 1)
			local before = sent
			sent = last or partial
			return sent == #data or err == "timeout" and sent == before
		end, 5, "the system to hold what it can")
		conn:resume()
		s.wait(function ()
			sent = sent < #data and (function (last, _, partial) return last or partial end)(peer.sock:send(data, sent + 1)) or sent
			return #rec.data[conn] >= #data
		end, 20, "all of it")
		s.ok(rec.data[conn] == data, "the bytes, in order")
		return lengths(rec, conn)
	end

	local list = pieces()
	if s.is_trochee then
		s.eq(list[1], 8192, "the first piece")
		s.eq(list[2], 16384, "the second piece")
		s.ok(math.max(table.unpack(list)) > 32768, "pieces that have grown")
		s.ok(math.max(table.unpack(list)) <= 65536, "pieces that have not grown without end")
	end
	for _, length in ipairs(pieces { read_size = 4096 }) do
		s.ok(length <= 4096, "a piece larger than the listener's read_size")
	end
	if s.name ~= "event" and s.name ~= "select" then
		for _, length in ipairs(pieces(nil, { read_size = 5000 })) do
			s.ok(length <= 5000, "a piece larger than the operator's read_size")
		end
	end
end)

t.item(166, "large and small writes come in order, to a peer that reads later as well, before and behind ondrain", function (s)
	local KiB = 1024
	local drains = 0
	local conn, peer, rec = s.pair { ondrain = function () drains = drains + 1 end }
	local expected = {}
	local function write(data)
		table.insert(expected, data)
		s.ok(conn:write(data), "write")
	end
	write("a little")
	write(text(64 * KiB))
	write("and more")
	write(text(16 * KiB - 1))
	write(text(16 * KiB))
	s.wait(function () return drains > 0 end, 5, "ondrain")
	-- What nobody reads yet.
	for _ = 1, 60 do
		write(text(100 * KiB))
		write("between")
	end
	expected = table.concat(expected)
	s.ok(peer:receive_until(#expected) == expected, "the bytes, in order")
	conn:close()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.ok(peer:closed(), "the end behind them")
end)
