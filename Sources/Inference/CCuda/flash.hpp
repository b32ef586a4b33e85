// When libtorch's flash attention is used: platform.hpp has its calls.
#pragma once

namespace tg::platform {

/// Tries it; nothing has it before, nor where it answers anything else than plain products.
void try_flash();

}  // namespace tg::platform
