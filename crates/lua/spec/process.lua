-- Lua programs that the specs here run in processes of their own, and what they have said.

local process = {}

process.dist_dir = os.getenv "TROCHEE_DIST" or "dist/lua"
process.source_dir = os.getenv "PROSODY_SOURCEDIR" or "/usr/lib/prosody"

function process.quoted(text)
	return "'"..text:gsub("'", "'\\''").."'"
end

-- What a command says, standard error included, and its exit status.
function process.run(command)
	local pipe = assert(io.popen(command.." 2>&1"))
	local said = pipe:read("a")
	local _, _, status = pipe:close()
	return said, status
end

-- The beginning of every program here: where trochee is, and a Prosody if there is to be one.
function process.paths(prosody)
	local path, cpath = process.dist_dir.."/?.lua;", process.dist_dir.."/?.so;"
	if prosody then
		path, cpath = path..prosody.."/?.lua;", cpath..process.source_dir.."/?.so;"
	end
	return ("package.path, package.cpath = %q..package.path, %q..package.cpath\n"):format(path, cpath)
end

function process.lua(source, environment, prosody)
	return process.run(("%s lua5.4 -e %s"):format(environment or "", process.quoted(process.paths(prosody)..source)))
end

return process
