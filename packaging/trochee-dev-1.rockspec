-- LuaRocks: in a checkout, `luarocks --lua-version 5.4 make packaging/trochee-dev-1.rockspec` builds trochee and installs the module
-- and the Lua files, not the command line. It takes Rust, as `make build` does.
rockspec_format = "3.0"
package = "trochee"
version = "dev-1"
source = {
	-- `make` takes the folder that it is started in.
	url = "git+file://.";
}
description = {
	summary = "net.server for Lua programs, and network backends for Prosody, in Rust";
	license = "MIT OR Apache-2.0";
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
build = {
	type = "make";
	build_target = "build";
	install_target = "install-rock";
	install_variables = {
		LUADIR = "$(LUADIR)";
		LIBDIR = "$(LIBDIR)";
	};
}
