// SPDX-License-Identifier: Apache-2.0
//
// chaos_lock: the games that chaos plays with what processes hold: a mutex around a change in two
// halves, and the units of a semaphore.
//
//   mutex   lock; first[me] = n; second[me] = n; unlock      n is this station's n-th change
//           a death between the halves leaves them different: who comes next is told, and mends
//
// Thread-safety: as chaos_game.h says.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quire/ipc/internal/chaos_game.h"
#include "quire/ipc/mutex.h"

namespace quire::ipc::internal {

class ChaosLock {
 public:
  virtual ~ChaosLock() = default;
  virtual Result<Ownership> lock(const WaitOptions& options) = 0;
  virtual Result<void> mark_consistent() = 0;
  virtual Result<void> unlock() = 0;
};

struct ChaosLockKind {
  std::string name;
  std::function<ObjectSpec(const std::string& name)> object;
  std::function<Result<std::unique_ptr<ChaosLock>>(const Segment&, const std::string& name)> open;
};

// That of the library.
[[nodiscard]] ChaosLockKind chaos_mutex();

class LockGame final : public ChaosGame {
 public:
  explicit LockGame(ChaosLockKind kind) : kind_(std::move(kind)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return kind_.name; }
  [[nodiscard]] std::vector<Role> roles() const override;
  void add_objects(Layout& layout) const override;
  Result<void> play(ChaosStation& station) const override;
  Result<void> audit(ChaosStation& station) const override;
  [[nodiscard]] std::string explain(const Segment& segment) const override;

 private:
  struct Pairs;

  [[nodiscard]] Result<Pairs*> find_pairs(const Segment& segment) const;
  Result<void> enter(ChaosStation& station, ChaosLock& lock, Pairs& pairs) const;
  Result<void> change(ChaosStation& station, Pairs& pairs) const;

  ChaosLockKind kind_;
};

class PermitGame final : public ChaosGame {
 public:
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] std::vector<Role> roles() const override;
  void add_objects(Layout& layout) const override;
  Result<void> play(ChaosStation& station) const override;
  Result<void> audit(ChaosStation& station) const override;
  [[nodiscard]] std::string explain(const Segment& segment) const override;

 private:
  std::string name_ = "semaphore";
};

}  // namespace quire::ipc::internal
