--[[
Writes docs/differences.md from the results of a complete run of contract_spec.lua and one of tests/prosody.

	lua5.4 crates/lua/spec/report.lua [--check]

--check writes nothing and fails when the document differs from what the run gives.
]]

local here = arg[0]:match("^(.*/)") or "./"
package.path = here.."contract/?.lua;"..package.path
local harness = require "harness"
local results = require "results"

local document_name = "docs/differences.md"
local trochee, stock = {}, { "epoll", "event", "select" }
for _, poller in ipairs(harness.pollers) do table.insert(trochee, "trochee-"..poller) end
-- Column titles and, in the list, what a subject is called when its other version does not share the reason
local versions = { { suffix = "", title = " 0.12", of = " of 0.12" }, { suffix = "-13", title = " 13.0", of = " of 13.0" } }

local function read_file(name)
	local file = io.open(name)
	if not file then return end
	local text = file:read("a")
	file:close()
	return text
end

local cells, lines, bugs = {}, {}, {} -- by item number; of the table; of the list below it
local unclean = {}
for _, pair in ipairs(results.matrix(true)) do
	local verdict, why = results.judge(pair, results.load(pair))
	local row = cells[pair.item.number] or {}
	cells[pair.item.number] = row
	row[pair.subject] = verdict
	if verdict == "failure" or verdict == "skip" then
		table.insert(unclean, ("%d [%s]: %s"):format(pair.item.number, pair.subject, why))
	elseif verdict ~= "pass" then
		row[pair.subject] = verdict == "bug" and "**bug**" or verdict
		row.why = row.why or {}
		table.insert(row.why, { pair.subject, verdict == "bug" and why or "not offered: "..why })
	end
end
if unclean[1] then
	io.stderr:write("The document is only written from a complete and clean run.\n", table.concat(unclean, "\n", 1, math.min(#unclean, 12)),
		("\n%d in all\n"):format(#unclean))
	os.exit(1)
end

local numbers = {}
for number in pairs(cells) do table.insert(numbers, number) end
table.sort(numbers)

-- The subjects of a reason: "epoll" where both versions share it
local function named(subjects)
	local names = {}
	for _, name in ipairs(stock) do
		local old, new = subjects[name..versions[1].suffix], subjects[name..versions[2].suffix]
		if old and new then
			table.insert(names, name)
		elseif old or new then
			table.insert(names, name..versions[old and 1 or 2].of)
		end
	end
	return (table.concat(names, ", "):gsub(", ([^,]+)$", " and %1"))
end

local columns, titles, rules = {}, {}, {}
for _, names in ipairs { trochee, stock } do
	for _, version in ipairs(versions) do
		for _, name in ipairs(names) do
			table.insert(columns, name..version.suffix)
			table.insert(titles, (name:gsub("%-", " "))..version.title)
			table.insert(rules, "---")
		end
	end
end
table.insert(lines, ("| | item | %s |"):format(table.concat(titles, " | ")))
table.insert(lines, ("|--:|---|%s|"):format(table.concat(rules, "|")))
for _, number in ipairs(numbers) do
	local item, row = harness.items[number], cells[number]
	local title = item.title:gsub("[*|]", "\\%0")
	local verdicts = {}
	for i, subject in ipairs(columns) do
		verdicts[i] = row[subject] or "–"
	end
	table.insert(lines, ("| %d | %s: %s | %s |"):format(number, item.group, title, table.concat(verdicts, " | ")))
	if row.why then
		-- Backends that fail for the same reason share a line.
		local by_reason, order = {}, {}
		for _, entry in ipairs(row.why) do
			local subject, why = table.unpack(entry)
			if not by_reason[why] then
				by_reason[why] = {}
				table.insert(order, why)
			end
			by_reason[why][subject] = true
		end
		for _, why in ipairs(order) do
			table.insert(bugs, ("- %d, %s: %s."):format(number, named(by_reason[why]), (why:gsub("[*|]", "\\%0"))))
		end
	end
end

local document = table.concat {
	assert(read_file(here.."differences_head.md")), "\n",
	table.concat(lines, "\n"), "\n\n## What fails, and what is not offered\n\n", table.concat(bugs, "\n"), "\n",
}

if arg[1] == "--check" then
	if read_file(document_name) ~= document then
		io.stderr:write(document_name, " differs from the run; write it with crates/lua/spec/report.lua\n")
		os.exit(1)
	end
else
	local file = assert(io.open(document_name, "w"))
	file:write(document)
	file:close()
end
